//! `netsonde tables [TABLE]`.

use super::{
    Failure, PlaceArgs, load,
    print::{self, BAD, Text},
};
use netsonde_core::{
    nearest::did_you_mean,
    table::{Catalogue, Per, Table, Type},
};
use serde_json::{Value, json};

#[derive(clap::Args)]
pub struct Tables {
    /// A table, to see its columns
    table: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
}

impl Tables {
    pub fn run(self) -> Result<(), Failure> {
        let catalogue = load::source(&load::places(&self.places)).catalogue();
        match &self.table {
            None if self.json => print::json(&catalogue_json(&catalogue)),
            None => list(&catalogue),
            Some(name) => {
                let table = catalogue.table(name).ok_or_else(|| no_table(&catalogue, name))?;
                if self.json { print::json(&table_json(table)) } else { columns(table) }
            }
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
    print::table(&["TABLE", "COLUMNS", "READ", "WHAT"], rows);
}

fn columns(table: &Table) {
    print::out(&format!("{}: {}", table.name, table.help));
    print::out(&format!("from {}, {}\n", table.source, per(table.per)));
    let mut rows = Vec::new();
    for column in &table.columns {
        let null = if column.nullable { "may be NULL" } else { "" };
        let cells = [column.name.as_str(), type_name(column.ty), column.logical.as_str(), null, column.help.as_str()];
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
    }
}

fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::U64 => "u64",
        Type::S64 => "s64",
        Type::Text => "text",
        Type::Scope => "scope",
        Type::Bool => "bool",
    }
}

fn catalogue_json(catalogue: &Catalogue) -> Value {
    let absent = |absent: &netsonde_core::table::Absent| json!({ "name": absent.name, "why": absent.why });
    json!({
        "tables": catalogue.tables.iter().map(table_json).collect::<Vec<_>>(),
        "absent": catalogue.absent.iter().map(absent).collect::<Vec<_>>(),
    })
}

fn table_json(table: &Table) -> Value {
    let columns = table.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": type_name(column.ty),
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
