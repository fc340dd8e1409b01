//! Deploys the template to an independent server with AWS's API.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use stagedoor_testkit::free_port;
use tokio::sync::{Semaphore, SemaphorePermit};

pub const STACK: &str = "stagedoor";
pub const REGION: &str = "eu-central-1";
/// The names of the Lambda binaries, by function.
pub const FUNCTIONS: [&str; 9] =
    ["website", "ticketing", "mail", "messaging", "links", "crm", "sync", "outreach", "schedule"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The path of a tool that `tests/run` installs.
pub fn tool(name: &str) -> PathBuf {
    root().join(".tools/python/bin").join(name)
}

/// A running moto, which stops when it is dropped.
pub struct Moto {
    child: Child,
    pub url: String,
    _place: SemaphorePermit<'static>,
}

/// Limits parallel stand-ins. Each keeps a core busy, so more of them only wait for each other.
static PLACES: Semaphore = Semaphore::const_new(2);

impl Drop for Moto {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Moto {
    pub async fn start() -> Self {
        let place = PLACES.acquire().await.expect("it is never closed");
        let port = free_port();
        let child = Command::new(tool("python"))
            .arg(root().join("tests/aws/moto_server.py"))
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto; tests/run installs it");
        let moto = Self { child, url: format!("http://127.0.0.1:{port}"), _place: place };
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return moto;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("moto did not come up");
    }

    /// Stores secrets as an operator does.
    pub async fn put_secrets(&self, secrets: &BTreeMap<String, String>) {
        let http = stagedoor_http::builder().build().expect("a client");
        for (name, value) in secrets {
            let body = serde_json::json!({ "Name": name, "Value": value, "Type": "SecureString", "Overwrite": true });
            let answer = http
                .post(&self.url)
                .header("x-amz-target", "AmazonSSM.PutParameter")
                .header("content-type", "application/x-amz-json-1.1")
                .header("authorization", credential("operator", "ssm"))
                .body(body.to_string())
                .send()
                .await
                .expect("moto answers");
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
        }
    }
}

/// The header of a signature. The stand-in checks its scope, not the signature.
pub fn credential(who: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={who}/20261124/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

/// One statement of a role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    #[serde(default)]
    pub sid: String,
    pub effect: String,
    pub action: OneOrMany,
    pub resource: OneOrMany,
    #[serde(default)]
    pub condition: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn all(&self) -> Vec<&str> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.iter().map(String::as_str).collect(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Function {
    pub environment: BTreeMap<String, String>,
    pub timeout: u64,
    pub memory: u64,
    pub statements: Vec<Statement>,
    pub managed: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mapping {
    pub batch_size: usize,
    #[serde(default)]
    pub maximum_batching_window_in_seconds: u64,
    pub event_source_arn: String,
    pub function_arn: String,
    #[serde(default)]
    pub function_response_types: Vec<String>,
    pub scaling_config: Option<Value>,
}

/// The alias that leads to a receiving function. It is read from the translated template, because the stand-in has no
/// aliases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Alias {
    pub name: String,
    /// The version's name in the template. A deploy publishes another one.
    pub version: String,
    /// How deliveries move to a new version.
    pub moved_by: String,
    /// The alarms that roll back to the version before.
    pub alarms: Vec<String>,
}

/// The result of a deployment.
#[derive(Debug, Clone, Deserialize)]
pub struct Deployed {
    pub status: String,
    /// Aliases by the function's short name.
    pub aliases: BTreeMap<String, Alias>,
    pub outputs: BTreeMap<String, String>,
    pub functions: BTreeMap<String, Function>,
    pub mappings: Vec<Mapping>,
    pub queues: BTreeMap<String, BTreeMap<String, String>>,
    /// Tables by name, as DescribeTable returns them.
    pub tables: BTreeMap<String, Value>,
}

impl Deployed {
    /// A function by its short name.
    pub fn function(&self, name: &str) -> &Function {
        self.functions.get(&format!("{STACK}-{name}")).expect("a function of the template")
    }

    pub fn queue(&self, output: &str) -> &str {
        self.outputs.get(output).expect("an output of the template")
    }
}

/// Builds with the features of the whole workspace's tests: every other choice of features compiles the SDK again.
fn cargo_build(binaries: &[&str]) {
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--workspace", "--all-features", "--tests"]).current_dir(root());
    command.args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    assert!(command.status().is_ok_and(|status| status.success()), "{binaries:?} are built");
}

/// Builds the functions once and lays them out as `cargo lambda build` does: `<folder>/<function>/bootstrap`.
pub fn build(folder: &Path) {
    cargo_build(&FUNCTIONS);
    for function in FUNCTIONS {
        let to = folder.join(function);
        std::fs::create_dir_all(&to).expect("a folder");
        let from = root().join("target/debug").join(function);
        let status = Command::new("strip").arg(&from).arg("-o").arg(to.join("bootstrap")).status();
        if !status.is_ok_and(|status| status.success()) {
            std::fs::copy(&from, to.join("bootstrap")).expect("the binary");
        }
    }
}

/// Deploys the template unchanged.
///
/// # Errors
/// The deployment's error about a missing parameter or secret.
pub fn deploy(moto: &Moto, artifacts: &Path, config: &Path, parameters: &Value) -> Result<Deployed, String> {
    let output = Command::new(tool("python"))
        .arg(root().join("tests/aws/deploy.py"))
        .args([&moto.url, STACK])
        .args([artifacts, config, &root().join("infra/aws/template.yaml")])
        .arg(parameters.to_string())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// Runs a command of `stagedoor` on the deployment, as an operator does. Returns its success and its output on both
/// streams.
pub fn command(endpoint: &str, config: &Path, args: &[&str]) -> (bool, String) {
    command_with(endpoint, config, args, &[])
}

/// As [`command`], with more environment variables.
pub fn command_with(endpoint: &str, config: &Path, args: &[&str], more: &[(&str, &Path)]) -> (bool, String) {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let binary = BUILT.get_or_init(|| {
        cargo_build(&["stagedoor"]);
        // Another build without the feature may replace it in the target folder.
        let own = root().join("target/lambda-proof/stagedoor");
        std::fs::create_dir_all(root().join("target/lambda-proof")).expect("a folder");
        std::fs::copy(root().join("target/debug/stagedoor"), &own).expect("the binary");
        own
    });
    let output = Command::new(binary)
        .args(args)
        .args(["--aws", STACK, "--config"])
        .arg(config)
        .env_clear()
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "operator")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .envs(more.iter().copied())
        .output()
        .expect("stagedoor runs");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), printed.into_owned())
}
