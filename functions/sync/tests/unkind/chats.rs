//! What was said while the CRM was out is in its notes afterwards.

use jiff::SignedDuration;
use stagedoor_model::{Body, ChatRef, Content, MessageHeard};

use crate::fake::{Made, World, bought, event};

#[tokio::test]
async fn every_line_that_was_said_during_an_outage_is_in_a_note_afterwards() {
    let world = World::new();
    let words = "so many words that one note cannot hold all that they said ".repeat(5);
    let line = |n: i64| {
        let chat = ChatRef {
            also: ["phone:+79161230001".parse().expect("a name")].into(),
            ..ChatRef::of("whatsapp:79161230001".parse().expect("a name"))
        };
        let content = Content::Text(format!("line {n:03} {words}"));
        let heard = MessageHeard { chat, message: n.to_string(), content };
        event("whatsapp", &n.to_string(), n, Body::MessageReceived(heard))
    };
    world.tell((0..100).map(line).collect()).await;
    world.runs_for(20).await;
    let notes: Vec<String> = {
        let state = world.crm.state();
        let text = |made: &Made| if let Made::Note(_, text) = made { Some(text.clone()) } else { None };
        state.rows.values().filter_map(text).collect()
    };
    assert!(notes.len() > 1 && notes.iter().all(|note| note.chars().count() <= 16_000), "{} notes", notes.len());
    for n in 0..100 {
        let held = notes.iter().filter(|note| note.contains(&format!("line {n:03} "))).count();
        assert_eq!(held, 1, "line {n}");
    }
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
}

#[tokio::test]
async fn a_note_without_an_answer_of_somebody_who_was_joined_since_is_looked_for_no_longer_than_others() {
    let world = World::new();
    let chat = ChatRef {
        also: ["phone:+79161230001".parse().expect("a name")].into(),
        ..ChatRef::of("whatsapp:79161230001".parse().expect("a name"))
    };
    let heard = MessageHeard { chat, message: "1".into(), content: Content::Text("a question".into()) };
    world.tell(vec![bought("1", "cherry", &["email:anna@example.com"])]).await;
    world.runs_for(4).await;
    world.crm.state().slow.insert("notes", SignedDuration::ZERO);
    world.tell(vec![event("whatsapp", "1", 10, Body::MessageReceived(heard))]).await;
    world.run().await;
    world.tell(vec![bought("2", "cherry", &["email:anna@example.com", "phone:+79161230001"])]).await;
    world.runs_for(600).await;
    // It stands at the contact that was marked as a duplicate; the one that counts has it once.
    let first = world.crm.state().rows.keys().min().copied().expect("a contact");
    assert_eq!(world.count(|made| matches!(made, Made::Note(contact, _) if *contact == first)), 1);
    assert_eq!(world.store.totals().await.expect("totals").waiting, 0);
}
