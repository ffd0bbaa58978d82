//! Query text to syntax tree, within limits: no text, however hostile, overflows the stack.

use super::error::{Position, QueryError};
use sqlparser::{
    ast::{Expr, Ident, Query},
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word},
};

/// Longest query, in bytes. It bounds how deep chains such as `a OR b OR c` nest in the tree, which the parser does not count.
pub const MAX_BYTES: usize = 8 * 1024;

/// Deepest nesting of parentheses, functions and prefix operators.
const MAX_DEPTH: usize = 48;

/// Parses one `SELECT`, perhaps with a semicolon after it.
pub(super) fn parse(sql: &str) -> Result<Box<Query>, QueryError> {
    if sql.len() > MAX_BYTES {
        let message =
            format!("a query may have {MAX_BYTES} bytes, this one has {}: shorten it, or make it two", sql.len());
        return Err(QueryError::text(None, message));
    }
    let tokens = tokens(sql).map_err(|error| QueryError::text(at(error.location), error.message))?;
    check_start(&tokens)?;
    refuse_joins(&tokens)?;
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let query = parser.parse_query().map_err(unreadable)?;
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token == Token::EOF {
        return Ok(query);
    }
    let message = match &rest.token {
        Token::Word(word) if word.keyword == Keyword::SELECT => "a query is one statement; make it two queries".into(),
        token => format!("`{}` is not understood here: the query should end before it", shorten(&token.to_string())),
    };
    Err(QueryError::text(at(rest.span.start), message))
}

/// Parses one expression.
pub(super) fn expression(text: &str) -> Result<Expr, QueryError> {
    if text.len() > MAX_BYTES {
        return Err(QueryError::text(None, format!("an expression may have {MAX_BYTES} bytes")));
    }
    let tokens = tokens(text).map_err(|error| QueryError::text(at(error.location), error.message))?;
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(unreadable)?;
    let rest = parser.peek_token();
    match rest.token {
        Token::EOF => Ok(expr),
        token => {
            let message = format!("`{}` is not understood here", shorten(&token.to_string()));
            Err(QueryError::text(at(rest.span.start), message))
        }
    }
}

/// The place of a syntax tree's item. The tree has line 0 for what has no place.
pub(super) fn at(location: Location) -> Option<Position> {
    (location.line > 0).then_some(Position { line: location.line, column: location.column })
}

pub(super) fn at_name(names: &[Ident]) -> Option<Position> {
    names.first().and_then(|name| at(name.span.start))
}

/// Where an expression begins, as far as the tree tells. A loop, as chains may be thousands deep.
pub(super) fn at_expr(mut expr: &Expr) -> Option<Position> {
    loop {
        expr = match expr {
            Expr::Identifier(name) => return at(name.span.start),
            Expr::CompoundIdentifier(names) => return at_name(names),
            Expr::Value(value) => return at(value.span.start),
            Expr::Function(function) => {
                return function.name.0.first().and_then(|part| part.as_ident()).and_then(|name| at(name.span.start));
            }
            Expr::Case { case_token, .. } => return at(case_token.0.span.start),
            Expr::Wildcard(token) | Expr::QualifiedWildcard(_, token) => return at(token.0.span.start),
            Expr::BinaryOp { left, .. } | Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => left,
            Expr::IsDistinctFrom(left, _) | Expr::IsNotDistinctFrom(left, _) => left,
            Expr::CompoundFieldAccess { root, .. } => root,
            Expr::JsonAccess { value, .. } | Expr::Prefixed { value, .. } => value,
            Expr::AtTimeZone { timestamp, .. } => timestamp,
            Expr::IsFalse(expr)
            | Expr::IsNotFalse(expr)
            | Expr::IsTrue(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsNull(expr)
            | Expr::IsNotNull(expr)
            | Expr::IsUnknown(expr)
            | Expr::IsNotUnknown(expr)
            | Expr::Nested(expr)
            | Expr::IsNormalized { expr, .. }
            | Expr::IsJson { expr, .. }
            | Expr::InList { expr, .. }
            | Expr::InSubquery { expr, .. }
            | Expr::InUnnest { expr, .. }
            | Expr::Between { expr, .. }
            | Expr::Like { expr, .. }
            | Expr::ILike { expr, .. }
            | Expr::SimilarTo { expr, .. }
            | Expr::RLike { expr, .. }
            | Expr::UnaryOp { expr, .. }
            | Expr::Cast { expr, .. }
            | Expr::Convert { expr, .. }
            | Expr::Extract { expr, .. }
            | Expr::Ceil { expr, .. }
            | Expr::Floor { expr, .. }
            | Expr::Position { expr, .. }
            | Expr::Substring { expr, .. }
            | Expr::Trim { expr, .. }
            | Expr::Overlay { expr, .. }
            | Expr::Collate { expr, .. }
            | Expr::Named { expr, .. } => expr,
            Expr::Tuple(list) => list.first()?,
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => sets.first()?.first()?,
            Expr::Array(array) => array.elem.first()?,
            Expr::Interval(interval) => &interval.value,
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => return at_query(subquery),
            _ => return None,
        }
    }
}

pub(super) fn at_query(query: &Query) -> Option<Position> {
    query.body.as_select().and_then(|select| at(select.select_token.0.span.start))
}

/// Where `word` first stands as a word of its own: for clauses whose place the tree does not keep.
pub(super) fn at_word(sql: &str, word: &str) -> Option<Position> {
    find_word(&tokens(sql).ok()?, |found| found.value.eq_ignore_ascii_case(word))
}

/// Words in quotes and those after a period are names.
fn find_word(tokens: &[TokenWithSpan], wanted: impl Fn(&Word) -> bool) -> Option<Position> {
    let mut after_period = false;
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::Word(word) if word.quote_style.is_none() && !after_period && wanted(word) => return at(span.start),
            Token::Whitespace(_) => {}
            token => after_period = *token == Token::Period,
        }
    }
    None
}

fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, sqlparser::tokenizer::TokenizerError> {
    Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location()
}

/// Names what begins otherwise than a query, before the parser takes it for something larger.
fn check_start(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    let first = tokens.iter().find(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    let Some(TokenWithSpan { token, span }) = first else {
        return Err(QueryError::text(None, "the query is empty: write SELECT columns FROM table"));
    };
    let message = match token {
        Token::Word(word) if word.keyword == Keyword::SELECT && word.quote_style.is_none() => return Ok(()),
        Token::Word(word) if word.keyword == Keyword::WITH => {
            "WITH is not supported: write one SELECT over one table".into()
        }
        token => format!("a query begins with SELECT, not with `{}`", shorten(&token.to_string())),
    };
    Err(QueryError::text(at(span.start), message))
}

/// The parser does not count how deep `a JOIN b JOIN c` without ON nests, so that it must not get to see one.
fn refuse_joins(tokens: &[TokenWithSpan]) -> Result<(), QueryError> {
    match find_word(tokens, |word| word.keyword == Keyword::JOIN) {
        Some(place) => {
            Err(QueryError::text(Some(place), "JOIN is not supported: a query reads one table, write a query for each"))
        }
        None => Ok(()),
    }
}

/// The parser writes the place at the end of its message.
fn unreadable(error: ParserError) -> QueryError {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return QueryError::text(None, "the query nests too deeply: take parentheses away");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let place = message.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message.to_owned(), Position { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    let (message, position) = place.map_or((message, None), |(message, position)| (message, Some(position)));
    QueryError::text(position, format!("cannot read the query: {}", shorten(&message)))
}

/// The beginning of what may be long, for a message.
pub(super) fn shorten(text: &str) -> String {
    const KEPT: usize = 120;
    match text.char_indices().nth(KEPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
