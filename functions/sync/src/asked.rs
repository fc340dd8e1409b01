//! Limits questions to one letter a day for each address, for all claimants together. Otherwise a stranger could fill
//! the owner's mailbox in the organiser's name.

use jiff::SignedDuration;
use stagedoor_engine::{Audience, DueMessage, PersonId, Question, cell_of_question};
use stagedoor_model::{EventId, Identifier, Timestamp, breakage};
use stagedoor_ports::{PortError, Result};

use crate::{Sync, segment::own_source};

/// Time after a question during which an address is asked nothing more.
const REST: SignedDuration = SignedDuration::from_hours(24);
/// Number of tries when other processes change the same value.
const ATTEMPTS: usize = 8;

impl Sync {
    /// Returns `None` if the letter may go, otherwise the time at which the address may be asked again. The same
    /// letter may be decided again after a crash.
    pub(crate) async fn rests_until(
        &self,
        due: &DueMessage<'_>,
        address: &Identifier,
        decided_for: PersonId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let question = match due.mailing.to {
            Audience::Unconfirmed => Question::Consent,
            Audience::Doubted => Question::Withdrawal,
            _ => return Ok(None),
        };
        if breakage::is_on("asked-by-each-claim") {
            return Ok(None);
        }
        // The stored value holds the id of the letter, not the address.
        let letter = EventId::derive(&own_source()?, &["asks", &due.key, &decided_for.to_string()]).to_string();
        let name = cell_of_question(question, address);
        for _ in 0..ATTEMPTS {
            let key_value = self.store.key_value(&name).await?;
            let last = key_value.as_ref().and_then(|key_value| key_value.value.split_once(' '));
            if let Some((at, asked)) = last
                && let Ok(at) = at.parse::<Timestamp>()
            {
                if asked == letter {
                    return Ok(None);
                }
                if now < at + REST {
                    return Ok(Some(at + REST));
                }
            } else if let Some(key_value) = &key_value {
                // A later version wrote the value. It may have asked a minute ago, so the address counts as asked
                // now.
                if self.store.compare_and_set(&name, &format!("{now} -"), Some(key_value.version)).await? {
                    return Ok(Some(now + REST));
                }
                continue;
            }
            if self
                .store
                .compare_and_set(&name, &format!("{now} {letter}"), key_value.map(|key_value| key_value.version))
                .await?
            {
                return Ok(None);
            }
        }
        Err(PortError::Retry("other processes ask the same address".into()))
    }
}
