//! Writes the flight recorder into a file: when a signal or a burst says so.

use super::board::Shared;
use netsonde_core::{
    config,
    event::{
        Rfc3339,
        recorder::{Burst, Recorded, write},
    },
};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// What belongs to the agent alone: events name addresses.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

const PREFIX: &str = "events-";
const SUFFIX: &str = ".jsonl";

/// Bursts follow one another: what one file has need not be in the next.
const PAUSE: Duration = Duration::from_secs(60);

/// Why it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Signal,
    Burst(Burst),
}

/// Why it could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("cannot make the folder {}: {source}; `recorder: {{ folder: ... }}` names another", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("nothing is recorded, as `recorder: {{ keep: 0s }}` says")]
    Off,
}

/// Where files are written, and how many are kept.
#[derive(Clone, Debug)]
pub struct Files {
    pub folder: PathBuf,
    pub keep: usize,
}

impl Files {
    pub fn new(config: &config::Recorder) -> Self {
        Self { folder: config.folder.clone(), keep: config.files as usize }
    }

    /// Writes `recorded` into a file that is named by the time and by `word`. The oldest files go. The file appears when it is complete.
    ///
    /// # Errors
    /// If it could not be written whole.
    pub fn write(&self, recorded: &[Recorded], unix: Duration, word: &str) -> Result<PathBuf, DumpError> {
        let folder = |source| DumpError::Folder { path: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&self.folder).map_err(folder)?;
        // Sorted by name is sorted by time.
        let time = Rfc3339(unix.as_nanos() as u64).to_string().replace(':', "-");
        let path = self.folder.join(format!("{PREFIX}{time}-{word}{SUFFIX}"));
        let unfinished = self.folder.join(format!(".{PREFIX}unfinished"));
        let wrong = |source| DumpError::Write { path: path.clone(), source };
        write_all(&unfinished, recorded).and_then(|()| fs::rename(&unfinished, &path)).map_err(wrong)?;
        self.forget_oldest();
        Ok(path)
    }

    fn forget_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| ours(name)).collect();
        names.sort_unstable();
        for name in names.iter().take(names.len().saturating_sub(self.keep)) {
            if let Err(error) = fs::remove_file(self.folder.join(name)) {
                tracing::warn!("Cannot remove the old file {name} of the flight recorder: {error}");
            }
        }
    }
}

fn write_all(path: &PathBuf, recorded: &[Recorded]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    let (mut file, mut line) = (BufWriter::new(file), Vec::new());
    for recorded in recorded {
        line.clear();
        write(recorded, &mut line);
        file.write_all(&line)?;
    }
    file.into_inner()?.sync_all()
}

/// Starts the thread that writes on whatever comes from `inbox`; it ends when nobody can send any more.
///
/// # Errors
/// If the system gives no thread.
pub fn start(files: Files, shared: Arc<Shared>, inbox: mpsc::Receiver<Why>) -> io::Result<()> {
    thread::Builder::new().name("recorder".into()).spawn(move || {
        let mut last_burst: Option<Instant> = None;
        for why in inbox {
            if let Why::Burst(burst) = &why {
                if last_burst.is_some_and(|last| last.elapsed() < PAUSE) {
                    continue;
                }
                last_burst = Some(Instant::now());
                let who = burst.scope.as_ref().map_or_else(|| "the node".into(), |name| name.to_string());
                tracing::warn!(
                    "A burst of {} events {} of {who}: the flight recorder is written.",
                    burst.count,
                    burst.ty
                );
            }
            match dump(&files, &shared, &why) {
                Ok((path, events)) => {
                    tracing::info!("The flight recorder's {events} events are in {}.", path.display())
                }
                Err(error) => tracing::warn!("The flight recorder was not written: {error}"),
            }
        }
    })?;
    Ok(())
}

fn dump(files: &Files, shared: &Shared, why: &Why) -> Result<(PathBuf, usize), DumpError> {
    let (monotonic, unix) = shared.clock();
    let recorded = shared.events().recorded(monotonic).ok_or(DumpError::Off)?;
    let word = match why {
        Why::Signal => "signal",
        Why::Burst(_) => "burst",
    };
    Ok((files.write(&recorded, unix, word)?, recorded.len()))
}
