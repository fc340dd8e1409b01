//! Runs the hub as a process, with a sample tour or without.

use std::{collections::BTreeSet, io::IsTerminal, path::Path, sync::Arc};

use stagedoor::{
    Hub, LOCK_FILE, Moved, THEATRE_CONFIG, bind, console::TOKEN_FILE, lock, month, read_config_for, start, tour,
};
use stagedoor_ports::{Clock, SystemClock};
use stagedoor_testkit::season::Season;

use crate::{Place, config, open};

/// Serves until it is stopped.
///
/// # Errors
/// A sentence: an error of the config, or an address that is taken.
pub async fn serve(place: &Place) -> Result<(), String> {
    let hub = Arc::new(open(place, "serve")?);
    let listener = bind(hub.config.listen).await?;
    let running = start(&hub, listener).await?;
    println!("The hub takes webhooks on http://{}/", running.address);
    println!("The console: {}", invitation(&running));
    if let Some(address) = hub.config.sandbox {
        println!("The CRM's sandbox listens on http://{address}/");
        let deals = hub.status().await.map_err(|error| error.to_string())?.deals;
        if deals > 0 {
            println!(
                "Note: the sandbox forgets with its process, and these files say that {deals} deals are in it. \
                 For a fresh start take another --data folder."
            );
        }
    }
    until_stopped(&hub, running).await
}

/// The invitation to the console. The token appears only on a terminal, never in a log.
fn invitation(running: &stagedoor::Running) -> String {
    running.console_token.invitation(running.console, std::io::stdout().is_terminal())
}

/// Removes the files of an earlier play, except the console's token, so that browsers stay signed in.
fn empty(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot empty {}: {error}", folder.display());
    if !folder.exists() {
        return Ok(());
    }
    // A hub that still serves from here would go on writing to deleted files.
    let _lock = lock(folder)?;
    for one in std::fs::read_dir(folder).map_err(failed)? {
        let one = one.map_err(failed)?;
        if one.file_type().map_err(failed)?.is_dir() {
            std::fs::remove_dir_all(one.path()).map_err(failed)?;
        } else if one.file_name() != TOKEN_FILE && one.file_name() != LOCK_FILE {
            std::fs::remove_file(one.path()).map_err(failed)?;
        }
    }
    Ok(())
}

/// A sample tour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Play {
    Tour,
    Ufa,
    Month,
}

/// Plays a sample tour into the sandbox, and keeps serving.
///
/// # Errors
/// A sentence: an error of the config, or a config without a sandbox.
pub async fn demo(mut place: Place, play: Play) -> Result<(), String> {
    // The sandbox loses its data with its process, so the tour's files go too.
    place.data = place.data.join(match play {
        Play::Tour => "tour",
        Play::Ufa => "ufa",
        Play::Month => "month",
    });
    empty(&place.data)?;
    // The month has its own clock.
    let moved = Moved::at(month::BEGINS);
    let clock: Arc<dyn Clock> = if play == Play::Month { Arc::new(moved.clone()) } else { Arc::new(SystemClock) };
    let mut config = config(&place)?;
    if play == Play::Ufa {
        // The play invites by this machine's clock, at any hour, so it has no quiet hours.
        config.catalog.manners.quiet = None;
    }
    let hub = Arc::new(Hub::open_by(clock, config, &place.data, "serve")?);
    if hub.config.sandbox.is_none() {
        return Err("the sample tour is played into the sandbox only; use `stagedoor serve` for a real account".into());
    }
    let listener = bind(hub.config.listen).await?;
    let running = start(&hub, listener).await?;
    println!("Stagedoor takes webhooks on http://{}/ with the amoCRM sandbox behind it.", running.address);
    println!("The console: {}\n", invitation(&running));
    let base = format!("http://{}", running.address);
    match (running.sandbox.clone(), running.messengers.clone()) {
        (Some(sandbox), Some(messengers)) if play == Play::Month => {
            let post = running.post.clone().ok_or("a month needs [sandbox] post")?;
            month::play(&hub, &moved, &base, (&sandbox, &messengers, &post)).await?;
        }
        (Some(sandbox), Some(messengers)) if play == Play::Ufa => {
            stagedoor::ufa::play(&hub, &base, &sandbox, &messengers).await?
        }
        (Some(sandbox), messengers) if play == Play::Tour => {
            tour::play(&hub, &base, &sandbox).await?;
            if let Some(messengers) = messengers {
                let on = messengers.lists().mailed("134").len();
                println!("Of the 300, {on} consented to letters and are on the mailing list.");
            }
            if let Some(post) = &running.post {
                let told: BTreeSet<String> = post.arrived().into_iter().map(|letter| letter.to).collect();
                println!("One show moved: {} people who hold tickets to it were written a letter.", told.len());
            }
        }
        _ => return Err("this play needs [sandbox] messengers".into()),
    }
    println!("It stays up; stop it with Ctrl-C. Next: README.md, “Where to look”.");
    until_stopped(&hub, running).await
}

/// Plays a theatre's season into the sandbox, or into the Vtiger that the config names.
///
/// # Errors
/// A sentence: an error of the config, or a CRM that cannot be used.
pub async fn season(mut place: Place) -> Result<(), String> {
    place.data = place.data.join("season");
    empty(&place.data)?;
    let config = match &place.config {
        Some(_) => config(&place)?,
        None => read_config_for(place.listeners(), "infra/local/theatre.toml", THEATRE_CONFIG)?,
    };
    let hub = Arc::new(Hub::open(config, &place.data, "serve")?);
    let listener = bind(hub.config.listen).await?;
    let running = start(&hub, listener).await?;
    let crm = if running.vtiger.is_some() { "the Vtiger sandbox" } else { &hub.config.crm.base_url };
    println!("Stagedoor takes webhooks on http://{}/; the CRM is {crm}.", running.address);
    println!("The console: {}", invitation(&running));
    stagedoor::season::play(&hub, &format!("http://{}", running.address), Season::default()).await?;
    println!("It stays up; stop it with Ctrl-C. The CRM: {}/webservice.php (docs/crm.md)", hub.config.crm.base_url);
    until_stopped(&hub, running).await
}

async fn until_stopped(hub: &Hub, running: stagedoor::Running) -> Result<(), String> {
    stagedoor::until_stopped(hub, running).await?;
    println!("\nStopped. Everything that was acknowledged is on the disk.");
    Ok(())
}
