//! The hub of a deployment on AWS, for the same commands.

use std::path::PathBuf;

use stagedoor_config::Config;

use crate::hub::Hub;

#[cfg(not(feature = "aws"))]
const WITHOUT: &str = "this build knows no AWS; take `cargo run --features aws -- …`";

/// Opens the hub of a stack. The config is the deployment's, with the secrets from the Parameter Store.
///
/// # Errors
/// A sentence: what is not found, every error of the config, or that this build has no AWS support.
#[cfg(feature = "aws")]
pub async fn deployed(stack: &str, config: &Option<PathBuf>, owner: &str) -> Result<Hub, String> {
    let deployment = stagedoor_aws::deployment(stack).await?;
    let config = read(&deployment.aws, stagedoor_aws::Reading::Everything, config).await?;
    let folder = std::env::temp_dir();
    let queues = crate::hub::Queues {
        events: std::sync::Arc::new(deployment.queue),
        chats: std::sync::Arc::new(deployment.chats),
        outbox: std::sync::Arc::new(deployment.outbox),
    };
    let clock = std::sync::Arc::new(stagedoor_ports::SystemClock);
    Hub::with(clock, config, std::sync::Arc::new(deployment.store), queues, &folder, owner)
}

/// # Errors
/// Always: this build has no AWS support.
#[cfg(not(feature = "aws"))]
pub async fn deployed(_: &str, _: &Option<PathBuf>, _: &str) -> Result<Hub, String> {
    Err(WITHOUT.into())
}

/// Reads the config of a deployment with every secret that it names, as a check before a deployment.
///
/// # Errors
/// Every error of the config and every missing secret.
#[cfg(feature = "aws")]
pub async fn deployed_config(config: &Option<PathBuf>) -> Result<Config, String> {
    read(&stagedoor_aws::sdk().await, stagedoor_aws::Reading::Deployment, config).await
}

/// # Errors
/// Always: this build has no AWS support.
#[cfg(not(feature = "aws"))]
pub async fn deployed_config(_: &Option<PathBuf>) -> Result<Config, String> {
    Err(WITHOUT.into())
}

#[cfg(feature = "aws")]
async fn read(
    aws: &stagedoor_aws::SdkConfig,
    reading: stagedoor_aws::Reading,
    config: &Option<PathBuf>,
) -> Result<Config, String> {
    let file = config.clone().unwrap_or_else(|| PathBuf::from("infra/aws/config/stagedoor.toml"));
    let name = file.display().to_string();
    let text = std::fs::read_to_string(&file).map_err(|error| format!("cannot read {name}: {error}"))?;
    let checker = crate::functions::Checker::new(reading != stagedoor_aws::Reading::Deployment);
    let check = |function: &str, source: &stagedoor_webhook::Source| checker.check(function, source);
    let read = stagedoor_aws::read_config(aws, reading, &name, &text, &check).await;
    read.map_err(|error| error.to_string())
}
