use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use stagedoor_proof::{
    hub::artifacts,
    runtime::{Function, Spec},
    stack::{FUNCTIONS, Moto, root},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_stops_the_deploy_before_anything_is_made() {
    let moto = Moto::start().await;
    let config = root().join("infra/aws/config");
    // What `infra/aws/deploy` asks first: every missing secret with its place and its remedy.
    let (fine, said) = stagedoor_proof::stack::command(&moto.url, &config.join("stagedoor.toml"), &["check-config"]);
    assert!(!fine && said.contains("source.tilda.secrets") && said.contains("aws ssm put-parameter"), "{said}");
    assert!(said.contains("/stagedoor/sync/crm-token") && said.contains("31 mistakes"), "all at once: {said}");
    let aws = stagedoor_proof::hub::keys("operator", &moto.url).await;
    let tables = aws_sdk_sqs::Client::new(&aws).list_queues().send().await.unwrap().queue_urls.unwrap_or_default();
    assert!(tables.is_empty(), "{tables:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_behind_tls_is_called_where_the_machine_trusts_it() {
    let (moto, folder) = (Moto::start().await, tempfile::tempdir().unwrap());
    let authority = stagedoor_tests::tls::Authority::new(folder.path());
    let port = moto.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let url = format!("https://localhost:{}", authority.before(port).await);
    let config = root().join("infra/aws/config/stagedoor.toml");
    let asked = |more: &[(&str, &std::path::Path)]| {
        tokio::task::block_in_place(|| stagedoor_proof::stack::command_with(&url, &config, &["check-config"], more))
    };
    let (_, said) = asked(&[("SSL_CERT_FILE", &authority.file)]);
    assert!(said.contains("aws ssm put-parameter") && said.contains("31 mistakes"), "it was asked for secrets: {said}");
    let (fine, said) = asked(&[]);
    assert!(!fine && !said.contains("31 mistakes") && !said.contains("panicked"), "{said}");
}

#[test]
fn every_function_of_the_template_is_built_and_looked_for_before_a_deploy() {
    let file = |name: &str| std::fs::read_to_string(root().join("infra/aws").join(name)).unwrap();
    let functions = |script: &str| -> BTreeSet<String> {
        let line = script.lines().find_map(|line| line.strip_prefix("for function in ")).expect("a list");
        let names = line.trim_end_matches("; do").split_whitespace();
        names.map(|name| name.split(':').next().unwrap_or(name).to_owned()).collect()
    };
    let template = file("template.yaml");
    let code = template.lines().filter_map(|line| line.trim().strip_prefix("CodeUri: ../../target/lambda/"));
    let deployed: BTreeSet<String> = code.map(|name| name.trim_end_matches('/').to_owned()).collect();
    assert_eq!(deployed, FUNCTIONS.map(str::to_owned).into());
    assert_eq!((functions(&file("build")), functions(&file("deploy"))), (deployed.clone(), deployed));
}

/// Functions that are reached over HTTP.
const RECEIVING: [&str; 6] = ["crm", "links", "mail", "messaging", "ticketing", "website"];

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_over_to_another_version_also_where_only_the_config_is_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let artifacts = folder.path().join("artifacts");
    for function in FUNCTIONS {
        std::fs::create_dir_all(artifacts.join(function)).expect("a folder");
        std::fs::write(artifacts.join(function).join("bootstrap"), "a program").expect("written");
    }
    let config = folder.path().join("config");
    std::fs::create_dir_all(&config).expect("a folder");
    let mut versions = Vec::new();
    for (text, deployment) in [("one", "Canary10Percent5Minutes"), ("one", "AllAtOnce"), ("another", "AllAtOnce")] {
        std::fs::write(config.join("stagedoor.toml"), text).expect("written");
        let moto = Moto::start().await;
        let parameters = serde_json::json!({ "DeletionProtection": "false", "Deployment": deployment });
        let deployed = stagedoor_proof::stack::deploy(&moto, &artifacts, &config, &parameters).expect("deployed");
        assert_eq!(deployed.aliases.keys().map(String::as_str).collect::<Vec<_>>(), RECEIVING);
        for alias in deployed.aliases.values() {
            assert_eq!((alias.name.as_str(), alias.moved_by.as_str()), ("live", deployment));
            // A repair goes out at once, also while the alarm rings.
            let watched = (deployment != "AllAtOnce").then(|| "${AWS::StackName}-deliveries-fail".to_owned());
            assert_eq!(alias.alarms, Vec::from_iter(watched));
        }
        versions.push(deployed.aliases.into_values().map(|alias| alias.version).collect::<BTreeSet<_>>());
    }
    assert_eq!(versions[0], versions[1], "nothing is another");
    assert!(versions[1].is_disjoint(&versions[2]), "the config is another");
}

fn website(config: &str, extra: &[(&str, &str)]) -> Function {
    let mut environment: BTreeMap<String, String> = [
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "website"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("STAGEDOOR_QUEUE_URL", "http://127.0.0.1:9/123456789012/events"),
        ("STAGEDOOR_CONFIG", config),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    environment.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let binary = artifacts().join("website/bootstrap");
    Function::new(Spec {
        name: "website".into(),
        binary,
        environment,
        timeout: Duration::from_secs(20),
        concurrency: 1,
    })
}

async fn answer(function: &Function) -> String {
    let event = std::fs::read_to_string(root().join("events/lambda/website.json")).unwrap();
    String::from_utf8(function.invoke(event.into()).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_a_wrong_config_says_so_in_one_line_and_answers_503() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stagedoor.toml");
    std::fs::write(&file, "[hub]\nregion = \"XX\"\ncurrency = \"RUB\"\n[source.site]\nfunction = \"website\"\nprovider = \"nobody\"\nsecrets = [\"env:NOT_SET\"]\n").unwrap();
    let function = website(&file.display().to_string(), &[]);
    let said = answer(&function).await;
    assert!(said.contains("\"statusCode\":503") && said.contains("retry-after"), "{said}");
    let errors: Vec<String> = function.log().into_iter().filter(|line| line.contains("\"ERROR\"")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        ["NOT_SET", "section [crm]", "[[pipeline]]"].iter().all(|one| errors[0].contains(one)),
        "every mistake: {}",
        errors[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_whose_queue_cannot_be_reached_answers_503_and_the_provider_delivers_again() {
    let config = root().join("infra/local/stagedoor.toml");
    let function = website(&config.display().to_string(), &[("STAGEDOOR_DEV_SECRETS", "yes")]);
    let said = answer(&function).await;
    assert!(said.contains("\"statusCode\":503"), "{said}");
    assert!(!function.log().iter().any(|line| line.contains("example.com")), "no personal data in the log");
}
