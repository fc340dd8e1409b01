//! The table of messengers, and the list of files in docs/add-a-messenger.md.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use stagedoor_model::Messenger;
use stagedoor_tests::messengers;

/// Files beside those of the page that serve one messenger only, and say so.
const OTHERS: [(Messenger, &[&str]); 4] = [
    (
        // The CRM has a field for it, shops tell it of their buyers, and alarms go to a group there.
        Messenger::Telegram,
        &[
            "shared/crm/src/amocrm/untangle.rs",
            "shared/crm/src/vtiger/untangle.rs",
            "shared/crm/src/vtiger/wire.rs",
            "shared/engine/src/plan/contact.rs",
            "shared/engine/src/person.rs",
            "shared/config/src/alarms.rs",
            "functions/ticketing/src/shop.rs",
            "functions/ticketing/src/qtickets.rs",
        ],
    ),
    // A second kind of id: people who hide their phone. Meta's stand-in is one file.
    (Messenger::Whatsapp, &["shared/model/src/identifier.rs", "infra/sandbox/src/messengers/meta.rs"]),
    // A visitor's utm_source.
    (Messenger::Vk, &["shared/testkit/src/tour.rs"]),
    // One file sends for both.
    (Messenger::Instagram, &["shared/channels/src/messenger.rs"]),
];

fn root() -> PathBuf {
    stagedoor_testkit::samples::folder().join("..").canonicalize().expect("the repository")
}

/// The files that the page names, of MAX.
fn named() -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/add-a-messenger.md")).expect("the page");
    let list = page.split("## ").find(|part| part.starts_with("The files")).expect("the list");
    list.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`')).map(str::to_owned).collect()
}

fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "tests" && name != "target" {
            sources(&path, all);
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests.rs" {
            all.push(path);
        }
    }
}

/// The code of a file without comments and without its own tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a file");
    let own = text.split("#[cfg(test)]").next().unwrap_or_default();
    own.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_names_files_that_are_there() {
    let named = named();
    assert!(named.len() >= 10, "{named:?}");
    for file in named {
        assert!(root().join(&file).exists(), "docs/add-a-messenger.md names {file}");
    }
}

#[test]
fn no_other_file_of_the_hub_knows_a_messenger() {
    let mut all = Vec::new();
    for folder in ["shared", "functions", "infra"] {
        sources(&root().join(folder), &mut all);
    }
    for messenger in Messenger::ALL {
        let name = messenger.name();
        let mut allowed: BTreeSet<String> = named().iter().map(|file| file.replace("max", name)).collect();
        let others = OTHERS.iter().find(|(of, _)| of == messenger).map_or(&[][..], |(_, files)| files);
        allowed.extend(others.iter().map(|file| (*file).to_owned()));
        // The table's variant, and the stored name as a literal. The name of Messenger is also that of a consent's channel.
        let variant = format!("Messenger::{messenger:?}");
        let literal = format!("\"{name}\"");
        for path in &all {
            let file = path.strip_prefix(root()).expect("within").to_string_lossy().into_owned();
            let code = code(path);
            let knows = code.contains(&variant) || *messenger != Messenger::Messenger && code.contains(&literal);
            assert!(!knows || allowed.contains(&file), "{file} knows {name}; docs/add-a-messenger.md does not name it");
        }
    }
}

#[test]
fn every_messenger_has_a_provider_and_all_but_one_a_stand_in() {
    let providers: BTreeSet<&str> = stagedoor_messaging::PROVIDERS.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<&str> = Messenger::ALL.iter().map(|one| one.name()).collect();
    assert_eq!(providers, known);
    // Messenger's stand-in answers for Instagram, too.
    let stand_ins = messengers::all().len();
    assert_eq!(stand_ins, Messenger::ALL.len() - 1);
}
