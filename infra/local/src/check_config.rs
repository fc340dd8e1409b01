//! `check-config`: the errors of a config, and what it would change for the people of a hub.

use std::path::Path;

use stagedoor::{aws_backend, config_changes};
use stagedoor_ports::{Clock, SystemClock};

use crate::{DEFAULT_DATA, Place, config};

/// # Errors
/// A sentence: every error of the config, options that exclude each other, or a hub that cannot be read.
pub async fn check_config(place: &Place, changes: bool) -> Result<(), String> {
    if place.aws.is_some() && place.data != Path::new(DEFAULT_DATA) {
        return Err("--data names a folder and --aws a deployment; what a config would change for the people of a \
                    deployment is said by `check-config --aws <stack> --changes`"
            .into());
    }
    if changes && place.aws.is_none() {
        return Err("--changes is for a deployment (--aws <stack>); of a folder give --data <folder>".into());
    }
    let config = match &place.aws {
        Some(_) => aws_backend::deployed_config(&place.config).await?,
        None => config(place)?,
    };
    println!("fine: {} sources, {} pipelines", config.sources.len(), config.catalog.pipelines.len());
    config.notices().iter().for_each(stagedoor::terminal::line);
    config.over(SystemClock.now()).iter().for_each(stagedoor::terminal::line);
    // The default folder may be absent.
    let is_named = place.data != Path::new(DEFAULT_DATA) || place.data.join("hub.db").is_file();
    let lines = match &place.aws {
        None if is_named => config_changes::report(&config, &place.data).await?,
        Some(stack) if changes => {
            let hub = aws_backend::deployed(stack, &place.config, "check-config").await?;
            config_changes::report_of(&config, hub.store.as_ref()).await?
        }
        _ => vec![],
    };
    lines.iter().for_each(stagedoor::terminal::line);
    Ok(())
}
