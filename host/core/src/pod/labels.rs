//! What is kept of a pod's labels and annotations: whoever makes a pod decides how long they are.

/// Labels of a pod that are kept: first those that are wanted, then by key.
pub const MOST: usize = 64;
/// Bytes of a value. What is longer is cut.
pub const LONGEST: usize = 1024;
/// Bytes of all labels of a pod, keys and values, and of all its annotations.
pub const BYTES: usize = 8 * 1024;

/// The labels that are kept, by key, each key once. `wanted` is the configuration's: label of ours, key of the pod's.
pub fn keep(mut labels: Vec<(String, String)>, wanted: &[(String, String)]) -> Vec<(String, String)> {
    let is_wanted = |key: &str| wanted.iter().any(|(_, from)| from == key);
    labels.sort_unstable_by(|(a, _), (b, _)| (!is_wanted(a), a).cmp(&(!is_wanted(b), b)));
    labels.dedup_by(|(a, _), (b, _)| a == b);
    let mut kept = Vec::with_capacity(labels.len().min(MOST));
    let mut bytes = 0;
    for (key, mut value) in labels {
        cut(&mut value);
        if kept.len() == MOST {
            break;
        }
        if bytes + key.len() + value.len() <= BYTES {
            bytes += key.len() + value.len();
            kept.push((key, value));
        }
    }
    kept.sort_unstable();
    kept
}

/// The annotations that are kept: none that nobody wants.
pub fn keep_wanted(mut annotations: Vec<(String, String)>, wanted: &[(String, String)]) -> Vec<(String, String)> {
    annotations.retain(|(key, _)| wanted.iter().any(|(_, from)| from == key));
    keep(annotations, wanted)
}

/// Cuts between two characters.
fn cut(value: &mut String) {
    let end = (0..=LONGEST.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    if end < value.len() {
        value.truncate(end);
        value.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_are_by_key_and_each_key_once() {
        let kept = keep(labels(&[("b", "2"), ("a", "1"), ("b", "2")]), &[]);
        assert_eq!(kept, labels(&[("a", "1"), ("b", "2")]));
    }

    #[test]
    fn of_too_many_labels_the_wanted_ones_are_kept() {
        let mut all: Vec<_> = (0..1000).map(|i| (format!("key-{i:04}"), "v".to_owned())).collect();
        all.push(("z/wanted".to_owned(), "here".to_owned()));
        let kept = keep(all, &labels(&[("app", "z/wanted")]));
        assert_eq!(kept.len(), MOST);
        assert_eq!(kept.last(), Some(&("z/wanted".to_owned(), "here".to_owned())));
        assert_eq!(kept[0].0, "key-0000");
    }

    #[test]
    fn long_values_are_cut_between_characters_and_all_together_are_bounded() {
        let long = "ä".repeat(LONGEST);
        let kept = keep(vec![("k".to_owned(), format!("x{long}"))], &[]);
        assert_eq!(kept[0].1.len(), LONGEST - 1, "an ä has two bytes, the x one");
        let many = (0..60).map(|i| (format!("{i:02}"), long.clone())).collect();
        let bytes: usize = keep(many, &[]).iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes <= BYTES && bytes > BYTES / 2, "{bytes}");
    }

    #[test]
    fn of_annotations_only_wanted_ones_are_kept() {
        let wanted = labels(&[("team", "example.org/team")]);
        let kept = keep_wanted(labels(&[("example.org/team", "net"), ("spec", "{...}")]), &wanted);
        assert_eq!(kept, labels(&[("example.org/team", "net")]));
        assert_eq!(keep_wanted(kept, &[]), []);
    }
}
