//! What a purge would send, for people.

use super::purges::table;
use crate::admin::dry_run::{DryRun, PlannedJob};
use crate::terminal::line;

/// Describes a dry run.
pub fn describe(plan: &DryRun) -> String {
    let rows = plan.jobs.iter().map(|job| {
        let first: Vec<_> =
            job.first_items.iter().map(|item| format!("{} {}", item.kind, item.value)).collect();
        vec![job.cdn.clone(), job.items.to_string(), job.calls.to_string(), first.join(", ")]
    });
    let mut text = format!("nothing was purged; for {}, this would be sent:\n", line(&plan.site));
    text.push_str(&table(&["CDN", "ITEMS", "CALLS", "FIRST ITEMS"], rows));
    plan.jobs.iter().for_each(|job| text.push_str(&notes(job)));
    text
}

fn notes(job: &PlannedJob) -> String {
    let cdn = line(&job.cdn);
    let wider = job.fallback.iter().map(|why| format!("note: {cdn}: {}\n", line(why)));
    let cost = job.cost.iter().map(|cost| {
        format!("note: {cdn}: costs at most {:.2} dollars ({} items)\n", cost.at_most_dollars, cost.items)
    });
    wider.chain(cost).collect()
}
