//! Function calls in a query, taken apart.

use super::{
    error::{Position, QueryError},
    resolve::place,
    shape::{joined, name_parts},
    text::shorten,
};
use crate::nearest::did_you_mean;
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
};

/// Every function of the language. They are keywords: unlike names they may be written in any case.
const FUNCTIONS: [&str; 7] = ["count", "histogram", "max", "maybe", "min", "name", "sum"];

/// A function's name in lower case, and what stands between its parentheses.
pub(super) struct Call<'q> {
    pub name: String,
    pub args: Vec<&'q FunctionArgExpr>,
    pub position: Option<Position>,
}

impl Call<'_> {
    /// What is counted, summed or named: the one argument.
    pub fn argument(&self) -> Result<&Expr, QueryError> {
        match self.args.as_slice() {
            [FunctionArgExpr::Expr(expr)] => Ok(expr),
            _ => {
                let message = format!("{}(x) takes one column", self.name);
                Err(QueryError::text(self.position, message))
            }
        }
    }

    pub fn is_aggregate(&self) -> bool {
        matches!(self.name.as_str(), "count" | "sum" | "min" | "max")
    }
}

/// Takes a function call apart, and refuses what may stand around and within it.
pub(super) fn call(function: &Function) -> Result<Call<'_>, QueryError> {
    let Function { name, uses_odbc_syntax, parameters, args, within_group, filter, null_treatment, over } = function;
    let names = name_parts(name).unwrap_or_default();
    let position = place(&names);
    let name = match names.as_slice() {
        [Ident { value, quote_style: None, .. }] => value.to_ascii_lowercase(),
        names => joined(names),
    };
    let refuse = |what: &str| Err(QueryError::text(position, format!("{}: {what}", shorten(&name))));
    if let FunctionArguments::None = args {
        return refuse("this is a word of SQL; a column of that name is written in double quotes");
    }
    if !FUNCTIONS.contains(&name.as_str()) {
        let message = match name.as_str() {
            "avg" => "avg(x) is not supported: select sum(x) and count(x), and divide".to_owned(),
            _ => format!("no function `{}`{}", shorten(&name), did_you_mean(&name, FUNCTIONS)),
        };
        return Err(QueryError::text(position, message));
    }
    if over.is_some() {
        return refuse("OVER is not supported; use GROUP BY");
    }
    if filter.is_some() {
        return refuse("FILTER is not supported; use WHERE");
    }
    if !within_group.is_empty() || null_treatment.is_some() {
        return refuse("nothing may follow the parentheses");
    }
    if *uses_odbc_syntax || !matches!(parameters, FunctionArguments::None) {
        return refuse("write it as name(column)");
    }
    let FunctionArguments::List(FunctionArgumentList { duplicate_treatment, args, clauses }) = args else {
        return refuse("a SELECT within parentheses is not supported; name a column");
    };
    match duplicate_treatment {
        Some(DuplicateTreatment::Distinct) => {
            return refuse("DISTINCT is not supported; GROUP BY the column, and count the rows");
        }
        Some(DuplicateTreatment::All) => return refuse("leave ALL out"),
        None => {}
    }
    if !clauses.is_empty() {
        return refuse("only a column may stand within the parentheses");
    }
    let args: Option<Vec<&FunctionArgExpr>> = args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(arg) => Some(arg),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => None,
        })
        .collect();
    match args {
        Some(args) => Ok(Call { name, args, position }),
        None => refuse("arguments have no names here"),
    }
}
