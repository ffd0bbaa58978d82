//! A guest that wants more than a probe gets: a way to open files.

wit_bindgen::generate!({
    path: "../../../wit/0.1.0",
    inline: "
        package other:files;
        interface files { open: func(path: string) -> u32; }
        world curious {
            import files;
            include netsonde:probe/probe@0.1.0;
        }
    ",
    world: "other:files/curious",
    generate_all,
});

use exports::netsonde::probe::guest::{Call, Output, Plan, QueryState};

struct Guest;

impl exports::netsonde::probe::guest::Guest for Guest {
    fn describe(_: String) -> Result<Plan, String> {
        Err(format!("opened {}", other::files::files::open("/etc/shadow")))
    }

    fn start(_: Vec<QueryState>) -> Result<(), String> {
        Ok(())
    }

    fn process(_: Call) -> Result<Output, String> {
        Err("never called".into())
    }
}

export!(Guest);
