//! `netsonde tables [TABLE] [PATH]`.

use super::{
    Failure, PlaceArgs, load,
    print::{self, BAD, Text},
};
use netsonde_core::{
    bpf::{hook::HookError, pass},
    nearest::did_you_mean,
    query,
    table::{Catalogue, HOOK, Hooks, ITER, Per, Table},
};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Tables {
    /// A table, to see its columns; a beginning such as `hook.tcp_`, to see the tracepoints that begin so
    table: Option<String>,
    /// Of a tracepoint or the kernel's objects: an argument, or a path from one, to see the fields there: sk, sk.__sk_common, (sk::tcp_sock)
    path: Option<String>,
    /// The kernel's types, for tracepoints
    #[arg(long, value_name = "FILE", default_value = load::BTF)]
    btf: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
}

impl Tables {
    pub fn run(self) -> Result<(), Failure> {
        let catalogue = load::catalogue(&load::places(&self.places), &self.btf);
        match &self.table {
            None if self.json => print::json(&catalogue_json(&catalogue)),
            None => list(&catalogue),
            Some(name) if name.starts_with(HOOK) || name.starts_with(ITER) => return self.hook(&catalogue.hooks, name),
            Some(name) if self.path.is_some() => {
                return Err(Failure::wrong([format!(
                    "{name} has columns, and no paths: those are of tracepoints (hook.*) and of the kernel's objects (iter.*)"
                )]));
            }
            Some(name) => {
                let table = catalogue.table(name).ok_or_else(|| no_table(&catalogue, name))?;
                if self.json { print::json(&table_json(table)) } else { columns(table) }
            }
        }
        Ok(())
    }

    /// A tracepoint or a kind of the kernel's objects, what can be reached from one of its arguments, or all whose names begin so.
    fn hook(&self, hooks: &Hooks, name: &str) -> Result<(), Failure> {
        let tracepoints = hooks.names().into_iter().map(|name| format!("{HOOK}{name}"));
        let objects = pass::NAMES.iter().map(|(name, _)| format!("{ITER}{name}"));
        let begun: Vec<String> = tracepoints.chain(objects).filter(|other| other.starts_with(name)).collect();
        if self.path.is_none() && !begun.iter().any(|other| other == name) && !begun.is_empty() {
            if self.json {
                print::json(&begun.into());
            } else {
                begun.iter().for_each(|name| print::out(name));
            }
            return Ok(());
        }
        let wrong = |error: HookError| Failure::wrong([error.message]);
        let Some(found) = hooks.find_table(name) else { return Err(Failure::wrong([format!("no table `{name}`")])) };
        let (hook, btf) = found.map_err(wrong)?;
        let Some(path) = &self.path else {
            let table = hook.table(btf);
            if self.json {
                print::json(&table_json(&table))
            } else {
                columns(&table)
            }
            return Ok(());
        };
        let steps = query::path(path).map_err(|error| Failure::wrong([error.render(path)]))?;
        let fields = hook.fields(btf, &steps).map_err(wrong)?;
        if self.json {
            let field = |(name, ty): &(String, String)| json!({ "name": name, "type": ty });
            print::json(&fields.iter().map(field).collect());
        } else {
            let rows = fields.into_iter().map(|(name, ty)| vec![Text::from(format!("{path}.{name}")), ty.into()]);
            print::table(&["FIELD", "TYPE"], rows.collect());
        }
        Ok(())
    }
}

fn no_table(catalogue: &Catalogue, name: &str) -> Failure {
    if let Some(absent) = catalogue.absent.iter().find(|absent| absent.name == name) {
        return Failure::wrong([format!("this node has no {name}: {}", absent.why)]);
    }
    let near = did_you_mean(name, catalogue.tables.iter().map(|table| table.name.as_str()));
    Failure::wrong([format!("no table `{name}`{near}")])
}

fn list(catalogue: &Catalogue) {
    let mut rows: Vec<Vec<Text>> = Vec::new();
    for table in &catalogue.tables {
        let cells = [table.name.clone(), table.columns.len().to_string(), per(table.per).into(), table.help.clone()];
        rows.push(cells.into_iter().map(Text::from).collect());
    }
    for absent in &catalogue.absent {
        rows.push(vec![absent.name.clone().into(), "".into(), Text::styled("absent", BAD), absent.why.clone().into()]);
    }
    for (name, help) in pass::NAMES {
        let found = catalogue.hooks.find_pass(name);
        let (read, what) = match &found {
            Ok(_) => (per(Per::Pass).into(), (*help).to_owned()),
            Err(error) => (Text::styled("absent", BAD), error.message.clone()),
        };
        let columns = found.map(|(hook, btf)| hook.table(btf).columns.len().to_string()).unwrap_or_default();
        rows.push(vec![format!("{ITER}{name}").into(), columns.into(), read, what.into()]);
    }
    let all = format!("{HOOK}*");
    rows.push(match &catalogue.hooks {
        Hooks::Known { .. } => {
            let help =
                format!("The {} tracepoints of this kernel: netsonde tables {HOOK}", catalogue.hooks.names().len());
            vec![all.into(), "".into(), per(Per::Event).into(), help.into()]
        }
        Hooks::Absent(why) => vec![all.into(), "".into(), Text::styled("absent", BAD), why.clone().into()],
    });
    print::table(&["TABLE", "COLUMNS", "READ", "WHAT"], rows);
}

fn columns(table: &Table) {
    print::out(&format!("{}: {}", table.name, table.help));
    print::out(&format!("from {}, {}\n", table.source, per(table.per)));
    let mut rows = Vec::new();
    for column in &table.columns {
        let null = if column.nullable { "may be NULL" } else { "" };
        let cells = [column.name.as_str(), column.ty.as_str(), column.logical.as_str(), null, column.help.as_str()];
        rows.push(cells.into_iter().map(Text::from).collect());
    }
    print::table(&["COLUMN", "TYPE", "UNIT", "", "WHAT"], rows);
    if !table.open_prefixes.is_empty() {
        let open = table.open_prefixes.join("*, ");
        print::out(&format!("\nThe kernel prints {open}* only once they are not zero: any of them may be asked for."));
    }
    for (name, instead) in &table.elsewhere {
        print::out(&format!("\n{name} {instead}"));
    }
}

fn per(per: Per) -> &'static str {
    match per {
        Per::Namespace => "once a namespace",
        Per::Node => "once",
        Per::Event => "as it happens",
        Per::Pass => "in one pass",
    }
}

fn catalogue_json(catalogue: &Catalogue) -> Value {
    let absent = |absent: &netsonde_core::table::Absent| json!({ "name": absent.name, "why": absent.why });
    json!({
        "tables": catalogue.tables.iter().map(table_json).collect::<Vec<_>>(),
        "absent": catalogue.absent.iter().map(absent).collect::<Vec<_>>(),
        "objects": pass::NAMES.iter().map(|(name, _)| match catalogue.hooks.find_pass(name) {
            Ok((hook, btf)) => table_json(&hook.table(btf)),
            Err(error) => json!({ "name": format!("{ITER}{name}"), "absent": error.message }),
        }).collect::<Vec<_>>(),
        "hooks": match &catalogue.hooks {
            Hooks::Known { .. } => json!(catalogue.hooks.names()),
            Hooks::Absent(why) => json!({ "absent": why }),
        },
    })
}

fn table_json(table: &Table) -> Value {
    let columns = table.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.ty.as_str(),
            "unit": column.logical.as_str(),
            "nullable": column.nullable,
            "help": column.help,
        })
    });
    json!({
        "name": table.name,
        "help": table.help,
        "source": table.source,
        "read": per(table.per),
        "columns": columns.collect::<Vec<_>>(),
        "open_prefixes": table.open_prefixes,
    })
}
