//! `cargo xtask bench --kernel`: what a packet costs the core of lvs, beside what IPVS adds to it in the kernel.

use std::fs;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::Line;
use super::priority::Priority;
use crate::record::{Boot, Failure, Kernel};
use crate::workspace::Workspace;

/// Runs in the guest.
const PROGRAM: &str = "kernel_ipvs";
/// Numbers of flows, those of the benchmark `established`.
const FLOWS: [u32; 2] = [1_024, 1_000_000];
/// Turns of each kind of packet.
const TURNS: usize = 7;
/// A connection takes 320 bytes of the kernel, and 8 of its table.
const MEMORY_MIB: u32 = 1024;
/// How long the guest may take.
const LIMIT: Duration = Duration::from_secs(180);

/// What the guest measured; see `benches/examples/kernel_ipvs.rs`.
#[derive(Deserialize)]
pub(super) struct Figures {
    kernel: String,
    lines: Vec<Turns>,
}

/// Nanoseconds a packet, of each turn.
#[derive(Deserialize)]
struct Turns {
    flows: u32,
    name: String,
    ns: Vec<f64>,
}

/// Has the kernel forward packets, with IPVS and without.
///
/// # Errors
/// What failed.
pub(super) fn measure(workspace: &Workspace, kernel: &Kernel) -> Result<Figures, Failure> {
    let broken = Failure::Broken;
    super::build_example(workspace, PROGRAM).map_err(broken)?;
    let program = super::example(workspace, PROGRAM);
    let out = kernel.scratch("figures.json");
    println!("\nthe kernel forwards packets, in User Mode Linux (a minute)");
    let boot = Boot {
        program: &format!("'{}'", program.display()),
        config: json!({ "out": out, "flows": FLOWS, "turns": TURNS }),
        memory_mib: MEMORY_MIB,
        processor: last_processor(),
    };
    let first = Priority::first();
    kernel.run(boot, LIMIT)?;
    drop(first);
    let text = fs::read_to_string(&out).map_err(|e| broken(format!("{}: {e}", out.display())))?;
    serde_json::from_str(&text).map_err(|e| broken(format!("{}: {e}", out.display())))
}

/// The last processor that this process may use.
fn last_processor() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// One row of the table.
struct Row {
    /// What is done with a packet: the guest's name for it, and that of our benchmark.
    names: (&'static str, &'static str),
    flows: u32,
}

/// The table, of the guest's figures and those of `established`.
pub(super) fn table(kernel: &Figures, ours: &[Line]) -> String {
    let mut text = format!(
        "\nns a packet of an established connection: lvs-core, all that it does; IPVS of Linux {}, what it adds\n\
         to plain forwarding; plain forwarding itself\n\n{:16} {:>9} {:>8} {:>10} {:>6} {:>15} {:>11}\n",
        kernel.kernel, "", "flows", "lvs", "IPVS adds", "ratio", "IPVS, in turns", "forwarding",
    );
    for names in [("direct routing", "lvs burst of 32"), ("masquerading", "lvs masqueraded")] {
        for flows in FLOWS {
            text += &row(kernel, ours, &Row { names, flows }).unwrap_or_default();
        }
    }
    text += CAVEATS;
    text
}

const CAVEATS: &str = "
The kernel is the real ip_vs in User Mode Linux: native code, one processor, no locks to wait for, pages of
4 KiB; take its figures as ±30 %. What lvs-core does includes its share of forwarding; I/O is in no column.
";

fn row(kernel: &Figures, ours: &[Line], row: &Row) -> Option<String> {
    let of = |name: &str| {
        let line = kernel.lines.iter().find(|line| line.flows == row.flows && line.name == name);
        line.map(|line| line.ns.as_slice())
    };
    let differences = |more: &str, less: &str| -> Option<Vec<f64>> {
        let mut found: Vec<f64> =
            of(more)?.iter().zip(of(less)?).map(|(more, less)| more - less).collect();
        found.sort_by(f64::total_cmp);
        (!found.is_empty()).then_some(found)
    };
    let added = differences(row.names.0, "forwarding")?;
    let forwarding = differences("forwarding", "generator")?;
    let value = row.flows.to_string();
    let of_ours = |name: &str| ours.iter().find(|l| l.value == value && l.name == name);
    let refill = of_ours(super::OVERHEAD).map_or(0.0, |line| line.median);
    let lvs = of_ours(row.names.1)?.median - refill;
    let (low, high) = (added[0], added[added.len() - 1]);
    let (added, forwarding) = (added[added.len() / 2], forwarding[forwarding.len() / 2]);
    Some(format!(
        "{:16} {:9} {lvs:8.1} {added:10.0} {:6.1} {:>15} {forwarding:11.0}\n",
        row.names.0,
        row.flows,
        added / lvs,
        format!("{low:.0} to {high:.0}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    #[test]
    fn what_ipvs_adds_is_the_median_of_the_turns_differences_and_ours_is_net_of_the_refill() {
        let turns =
            |name: &str, ns: &[f64]| Turns { flows: 1_024, name: name.into(), ns: ns.into() };
        let lines = vec![
            turns("generator", &[700.0, 800.0, 700.0]),
            turns("forwarding", &[1000.0, 1100.0, 1000.0]),
            turns("direct routing", &[1200.0, 1310.0, 1990.0]),
        ];
        let ours = [("refill", 4.0), ("lvs burst of 32", 14.0)];
        let ours = ours.map(|(name, median)| line(name, "1024", median));
        let text = table(&Figures { kernel: "6.1".into(), lines }, &ours);
        let row = text.lines().find(|line| line.starts_with("direct routing")).unwrap();
        let words: Vec<&str> = row.split_whitespace().skip(2).collect();
        assert_eq!(words, ["1024", "10.0", "210", "21.0", "200", "to", "990", "300"]);
        assert!(!text.contains("masquerading"), "{text}");
    }
}
