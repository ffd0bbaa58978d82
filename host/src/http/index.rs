//! The page at `/`: what is here, and how the probes are.

use std::fmt::Write;

/// What the page tells.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub node: String,
    /// Name, state, and why it is not well.
    pub probes: Vec<(String, String, String)>,
}

const HEAD: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Netsonde</title>
<style>
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #dfe5ec); --soft: light-dark(#5b6776, #93a0b0); --line: light-dark(#dde3ea, #2c3642);
  --paper: light-dark(#fdfdfc, #12171d); --link: light-dark(#0b5cad, #7db8f0) }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 44rem; margin: 3rem auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1rem; margin: 2.2rem 0 .4rem }
p.node { color: var(--soft); margin: .1rem 0 0 }
table { border-collapse: collapse; width: 100% } td { padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top }
td:first-child { white-space: nowrap } td.why { color: var(--soft) } a { color: var(--link) }
.running { color: light-dark(#1a7f37, #57c46f) } .degraded, .starting { color: light-dark(#9a6700, #e0b341) } .down { color: light-dark(#c0272d, #f0787c) }
</style>
"#;

const PAGES: &[(&str, &str)] = &[
    ("/metrics", "what the probes measure, for Prometheus: OpenMetrics and text, by <code>Accept</code>"),
    ("/events", "what happened lately, a JSON object a line; <code>?follow</code> goes on with each new one"),
    ("/ledger", "what became of every row and event, stage by stage, as JSON"),
    ("/recorder", "every event of the last minutes, with those over a limit, a JSON object a line"),
    ("/pods", "pods and containers of the node, and how each was found, as JSON"),
    ("/probes", "each probe's state, queries and cost, as JSON"),
    ("/healthz", "answers as long as the agent runs"),
    ("/readyz", "answers 200 once there are metrics"),
];

impl Index {
    /// The page, complete, without scripts.
    pub fn html(&self) -> String {
        let mut html = String::from(HEAD);
        // Writing to a String does not fail.
        let _ = write!(html, "<h1>Netsonde</h1><p class=node>{}</p><h2>Pages</h2><table>", escape(&self.node));
        for (path, what) in PAGES {
            let _ = write!(html, "<tr><td><a href=\"{path}\">{path}</a><td>{what}");
        }
        html.push_str("</table><h2>Probes</h2><table>");
        for (name, state, why) in &self.probes {
            let (name, state, why) = (escape(name), escape(state), escape(why));
            let _ = write!(html, "<tr><td>{name}<td class={state}>{state}<td class=why>{why}");
        }
        if self.probes.is_empty() {
            html.push_str("<tr><td>none is configured");
        }
        html.push_str("</table></html>\n");
        html
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_probe_says_is_text_and_no_markup() {
        let index =
            Index { node: "n1".into(), probes: vec![("p".into(), "down".into(), "<script>alert(1)</script>".into())] };
        let html = index.html();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
        assert!(html.contains("href=\"/metrics\""));
    }
}
