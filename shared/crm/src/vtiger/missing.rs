//! Records that the CRM does not show: those that are gone, and those that the hub's user may not see.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use stagedoor_model::breakage;

use crate::vtiger::{
    query::{self, IN},
    schema::Module,
    transport::{Failure, Transport},
};

/// The ids that do not exist, or that the hub cannot see.
pub(super) async fn missing(
    transport: &Transport,
    module: &Module,
    numbers: &BTreeSet<u64>,
) -> Result<BTreeSet<u64>, Failure> {
    let mut missing = numbers.clone();
    let all: Vec<String> = numbers.iter().map(|number| module.of(*number)).collect();
    for chunk in all.chunks(IN) {
        let list = query::list(chunk.iter().map(String::as_str));
        let rows = query::all(transport, "id", module.name, &format!("id in ({list})")).await;
        // The CRM returns no rows for deleted records, so this error concerns the module.
        let rows = rows.map_err(|failure| match failure.refused("ACCESS_DENIED") {
            true => lost_right(module),
            false => failure,
        })?;
        for number in rows.iter().filter_map(query::id).filter_map(|id| query::number(&id)) {
            missing.remove(&number);
        }
    }
    Ok(missing)
}

/// The ids that certainly do not exist, and the number of hidden records. A query leaves out what the hub's user may
/// not see. A single read tells hidden records from deleted ones.
pub(super) async fn gone(
    transport: &Transport,
    module: &Module,
    numbers: &BTreeSet<u64>,
) -> Result<(BTreeSet<u64>, usize), Failure> {
    let missing = missing(transport, module, numbers).await?;
    let read = |number: u64| async move { (number, transport.get("retrieve", &[("id", &module.of(number))]).await) };
    let answers: Vec<_> =
        stream::iter(missing.into_iter().map(read)).buffered(transport.sessions() * 2).collect().await;
    let (mut gone, mut hidden) = (BTreeSet::new(), 0);
    for (number, answer) in answers {
        match answer {
            Err(failure)
                if failure.refused("ACCESS_DENIED")
                    && !failure.is_gone()
                    && !breakage::is_on("lost-right-is-deletion") =>
            {
                hidden += 1;
            }
            Err(Failure::Refused { .. }) => _ = gone.insert(number),
            Err(failure) => return Err(failure),
            // The record was created again or restored in the meantime.
            Ok(_) => {}
        }
    }
    Ok((gone, hidden))
}

fn lost_right(module: &Module) -> Failure {
    let what = "the CRM shows the hub no {} any more: give its user the right to see them";
    Failure::Denied(what.replace("{}", module.name))
}
