//! `check-config`: the errors of a config, and what it would change for the people of a hub.

use std::path::Path;

use stagedoor::{aws_backend, config_changes};
use stagedoor_config::Config;
use stagedoor_model::SourceName;
use stagedoor_ports::{Clock, SystemClock, Webhook};

use crate::{DEFAULT_DATA, Place, config};

/// # Errors
/// A sentence: every error of the config, options that exclude each other, or a hub that cannot be read.
pub async fn check_config(place: &Place, changes: bool, online: bool) -> Result<(), String> {
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
    if online {
        asked_webhooks(&config).await?.iter().for_each(stagedoor::terminal::line);
    }
    Ok(())
}

/// What the messengers say of their webhooks, a line each.
///
/// # Errors
/// A sentence: no public address, or a channel that cannot be built.
async fn asked_webhooks(config: &Config) -> Result<Vec<String>, String> {
    let base = config.public_url.as_deref().filter(|url| url.starts_with("https://"));
    let base = base.ok_or("--online asks messengers for the hub's own address: [hub] public_url has to be https")?;
    let channels = stagedoor_channels::channels(config)?;
    let states = stagedoor_outreach::webhooks(&channels, base).await.into_iter();
    let line = |(source, state): (SourceName, Webhook)| match state {
        Webhook::NotAsked | Webhook::Stands => format!("[source.{source}] posts to the hub"),
        Webhook::MadeAgain => format!("[source.{source}] did not post to the hub; it was subscribed again"),
        Webhook::Missing(why) => format!("[source.{source}] does not post to the hub: {why}"),
    };
    Ok(states.map(line).collect())
}
