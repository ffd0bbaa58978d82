//! "Did you mean": the names nearest to one that is not there.

/// Up to three of `names` that resemble `wrong`, best first. Letters' case does not count.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wrong = wrong.to_lowercase();
    let mut near: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    // What is much farther off than the best is noise.
    let best = near.first().map_or(0.0, |(score, _)| *score);
    near.retain(|(score, _)| best - score < 0.05);
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// The same as the end of a message: ``; did you mean `a` or `b`?``, or nothing.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let near: Vec<String> = nearest(wrong, names).into_iter().map(|name| format!("`{name}`")).collect();
    match near.as_slice() {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [head @ .., last] => format!("; did you mean {} or {last}?", head.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_found() {
        assert_eq!(
            did_you_mean("TCP.in_use", ["TCP.inuse", "UDP.inuse", "sockets.used", "RAW.memory"]),
            "; did you mean `TCP.inuse`?"
        );
        assert_eq!(did_you_mean("xyz", ["TCP.inuse"]), "");
    }
}
