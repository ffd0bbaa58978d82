//! Which namespaces are the same, and what they are called.

use super::*;

mod pods;

fn found(inode: u64, name: Option<&str>) -> FoundNetns {
    FoundNetns { inode, name: name.map(str::to_owned), ..Default::default() }
}

fn observe(scopes: &mut Scopes, found: &[FoundNetns], now: u64) -> (Vec<String>, Vec<ScopeId>) {
    let now = Duration::from_secs(now);
    let namespaces = scopes.observe(found.to_vec(), now, now * 1000);
    let names = namespaces.iter().map(|n| format!("{}={}", n.scope, scopes.name(n.scope).unwrap()));
    (names.collect(), scopes.take_gone())
}

#[test]
fn a_namespace_is_called_host_or_by_its_name_or_inode() {
    let mut scopes = Scopes::default();
    let host = FoundNetns { host: true, ..found(10, Some("shown-too")) };
    let (labels, _) =
        observe(&mut scopes, &[host, found(11, Some("blue")), found(12, None), found(13, Some("host"))], 1);
    assert_eq!(labels, ["1=host", "2=blue", "3=12", "4=13"]);
}

#[test]
fn a_scope_lives_as_long_as_its_namespace_is_seen() {
    let mut scopes = Scopes::default();
    let (a, b) = (found(11, Some("a")), found(12, Some("b")));
    assert_eq!(observe(&mut scopes, &[a.clone(), b.clone()], 1), (vec!["1=a".into(), "2=b".into()], vec![]));
    assert_eq!(observe(&mut scopes, &[b.clone(), a.clone()], 2), (vec!["2=b".into(), "1=a".into()], vec![]));
    assert_eq!(observe(&mut scopes, std::slice::from_ref(&b), 3), (vec!["2=b".into()], vec![1]));
    assert_eq!(scopes.get(1).and_then(|scope| scope.gone), Some(Duration::from_secs(3)));
    assert_eq!(scopes.dead_since(Duration::from_secs(3)), [1]);
    assert_eq!(observe(&mut scopes, &[b], 4), (vec!["2=b".into()], vec![]), "gone is said once");
    assert_eq!(observe(&mut scopes, &[a], 5), (vec!["3=a".into()], vec![2]), "seen again: a new scope");
    assert_eq!(scopes.get(3).map(|scope| scope.first_seen_unix), Some(Duration::from_secs(5000)));
}

#[test]
fn rule_29_a_reused_inode_under_another_name_is_a_new_scope() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[found(11, Some("a"))], 1);
    assert_eq!(observe(&mut scopes, &[found(11, Some("b"))], 2), (vec!["2=b".into()], vec![1]));
}

#[test]
fn a_namespace_that_is_named_twice_is_one() {
    let mut scopes = Scopes::default();
    assert_eq!(observe(&mut scopes, &[found(11, None), found(11, None)], 1), (vec!["1=11".into()], vec![]));
}

fn key(cookie: u64, inode: u64) -> NetnsKey {
    NetnsKey { cookie, inode }
}

#[test]
fn a_row_belongs_to_the_namespace_that_the_walk_found() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[found(11, Some("a")), found(12, Some("b"))], 1);
    let now = Duration::from_secs(2);
    assert_eq!(scopes.of_row(key(501, 12), now), Some(2));
    assert_eq!(scopes.of_row(key(500, 11), now), Some(1));
    assert_eq!(scopes.of_row(key(502, 13), now), None, "a walk may find it");
}

#[test]
fn rule_29_a_reused_inode_is_a_new_scope_from_its_first_row() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[found(11, Some("a"))], 1);
    let now = Duration::from_secs(2);
    assert_eq!(scopes.of_row(key(500, 11), now), Some(1));
    assert_eq!(scopes.of_row(key(501, 11), now), None);
    assert_eq!(scopes.take_gone(), [1]);
    // Its late rows still are its own.
    assert_eq!(scopes.of_row(key(500, 11), now), Some(1));
    assert_eq!(observe(&mut scopes, &[found(11, Some("a"))], 3).0, ["2=a"]);
    assert_eq!(scopes.of_row(key(501, 11), now), Some(2));
}

#[test]
fn a_namespace_that_only_rows_tell_of_has_a_scope_until_it_is_silent() {
    let mut scopes = Scopes::default();
    let at = Duration::from_secs;
    let scope = scopes.of_row_or_new(key(500, 11), at(1), at(1));
    assert_eq!((scope, scopes.name(scope).as_deref()), (1, Some("11")));
    assert_eq!(observe(&mut scopes, &[], 30), (vec![], vec![]), "it is not gone because no walk finds it");
    assert_eq!(scopes.of_row_or_new(key(500, 11), at(40), at(40)), 1);
    assert_eq!(observe(&mut scopes, &[], 90), (vec![], vec![]));
    assert_eq!(observe(&mut scopes, &[], 101), (vec![], vec![1]));
}

#[test]
fn a_namespace_that_a_row_told_of_first_keeps_its_scope_when_it_is_found() {
    let mut scopes = Scopes::default();
    scopes.of_row_or_new(key(500, 11), Duration::ZERO, Duration::ZERO);
    assert_eq!(observe(&mut scopes, &[found(11, Some("a"))], 1), (vec!["1=a".into()], vec![]));
    assert_eq!(scopes.of_row(key(500, 11), Duration::ZERO), Some(1));
}

fn with_cookie(cookie: u64, inode: u64, name: &str) -> FoundNetns {
    FoundNetns { cookie: Some(cookie), ..found(inode, Some(name)) }
}

#[test]
fn rule_29_a_reused_inode_under_the_same_name_is_a_new_scope_if_its_cookie_says_so() {
    let mut scopes = Scopes::default();
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 1).0, ["1=a"]);
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 2), (vec!["1=a".into()], vec![]));
    assert_eq!(observe(&mut scopes, &[with_cookie(501, 11, "a")], 3), (vec!["2=a".into()], vec![1]));
    // Late rows of the old one are its own, and the first of the new one are of the new.
    assert_eq!(scopes.of_row(key(500, 11), Duration::ZERO), Some(1));
    assert_eq!(scopes.of_row(key(501, 11), Duration::ZERO), Some(2));
}

#[test]
fn a_namespace_keeps_its_scope_under_another_name() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[with_cookie(500, 11, "a"), with_cookie(501, 12, "b")], 1);
    let both = [with_cookie(501, 12, "a"), with_cookie(500, 11, "b")];
    assert_eq!(observe(&mut scopes, &both, 2), (vec!["2=a".into(), "1=b".into()], vec![]));
}

#[test]
fn a_namespace_that_is_found_with_and_without_its_cookie_is_the_same() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[found(11, Some("a"))], 1);
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 2), (vec!["1=a".into()], vec![]));
    assert_eq!(observe(&mut scopes, &[found(11, Some("a"))], 3), (vec!["1=a".into()], vec![]));
}

#[test]
fn a_namespace_that_is_seen_again_is_a_new_scope_also_by_its_cookie() {
    let mut scopes = Scopes::default();
    observe(&mut scopes, &[with_cookie(500, 11, "a")], 1);
    assert_eq!(observe(&mut scopes, &[], 2), (vec![], vec![1]));
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 3).0, ["2=a"]);
    assert_eq!(scopes.of_row(key(500, 11), Duration::ZERO), Some(2));
}

#[test]
fn a_row_before_the_walk_has_told_the_scope() {
    let mut scopes = Scopes::default();
    let now = Duration::from_secs(1);
    assert_eq!(scopes.of_row_or_new(key(500, 11), now, now), 1);
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 2), (vec!["1=a".into()], vec![]));
    assert_eq!(observe(&mut scopes, &[with_cookie(500, 11, "a")], 200), (vec!["1=a".into()], vec![]));
}
