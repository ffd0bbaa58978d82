//! A drop-in probe: connections that were dropped as an accept queue was full, which no built-in probe looks at.

use netsonde_sdk::prelude::*;

pub struct ListenOverflows {
    query: Query,
    overflows: Metric<Counter>,
}

impl Probe for ListenOverflows {
    type Settings = NoSettings;

    fn new(_: NoSettings, plan: &mut Plan) -> Result<Self> {
        let query = plan.query("overflows", "SELECT netns, TcpExt.ListenOverflows AS n FROM proc.net.netstat");
        let overflows =
            plan.counter("overflows", "Connections dropped as an accept queue was full").from(&[query]).each_scope();
        Ok(Self { query, overflows })
    }

    fn process(&mut self, call: &Call, out: &mut Output) -> Result<()> {
        let Some(rows) = call.rows(self.query) else { return Ok(()) };
        out.total(&self.overflows).scopes(rows.column("netns")?).values(rows.column("n")?);
        Ok(())
    }
}

netsonde_sdk::export!(ListenOverflows);

#[cfg(test)]
mod tests {
    use super::*;
    use netsonde_sdk::test::{Harness, Table};

    #[test]
    fn the_kernels_total_is_handed_on() {
        let rows = Table::new(&["netns", "n"]).row(&[&1, &7]);
        let got = Harness::<ListenOverflows>::new("{}").unwrap().collect(&[("overflows", rows)]).unwrap();
        assert_eq!(got.get("overflows", Some(1), &[]), Some(7.0));
    }
}
