//! Faults of the world: at the CRM, on the way, and in the hub's own processes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stagedoor_sandbox::{Fault, FaultKind, HookFault, HookFaultKind};

use crate::{act::Actors, apis::ApiFault, way_out::Mishap};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A call fails: throttled, 500, 504, cut off, its answer lost.
    FailedCall,
    /// A call takes effect after its caller gave up.
    LateEffect,
    /// The answer is 301, 404, 405 or a page instead of the API's.
    Pages,
    /// The CRM is down for minutes.
    Outage,
    /// The CRM's webhooks are lost, late, doubled or overtaken.
    Webhooks,
    /// The queue accepts nothing for a while.
    Queue,
    /// The API of a shop or a payment provider fails, answers with pages, hangs, is slow, or returns an older state.
    Apis,
    /// A message to a person fails, is lost, arrives late or is refused.
    WayOut,
}

impl Actors {
    pub fn trouble(&mut self, trouble: Trouble) {
        let crm = match self.shared.second_crm.clone() {
            Some(second) if self.rng.once_in(2) => second,
            _ => Arc::clone(&self.shared.crm),
        };
        let calls = self.rng.pick(crm.struck()).copied().unwrap_or_default().to_owned();
        let after = u32::from(self.rng.once_in(2));
        let seconds = self.rng.between(1, 100);
        let fault = |kind| Fault { kind, calls, after, times: 1, milliseconds: seconds * 1_000 };
        let line = match trouble {
            Trouble::FailedCall => {
                let kinds = [
                    FaultKind::Throttled,
                    FaultKind::Broken,
                    FaultKind::TooSlow,
                    FaultKind::Cut,
                    FaultKind::AnswerLost,
                ];
                let fault = fault(self.rng.pick(&kinds).copied().unwrap_or(FaultKind::Broken));
                let line = format!("{}: {:?} at {:?}", crm.name(), fault.kind, fault.calls);
                crm.set_fault(fault);
                line
            }
            Trouble::LateEffect => {
                let kinds = [FaultKind::LateAfterTimeout, FaultKind::LateAfterCut, FaultKind::LateWithoutAnswer];
                let mut fault = fault(self.rng.pick(&kinds).copied().unwrap_or(FaultKind::LateAfterCut));
                fault.calls = self.rng.pick(&crm.making()).copied().unwrap_or_default().into();
                let line = format!("{}: {:?} at {:?}, {seconds} s later", crm.name(), fault.kind, fault.calls);
                crm.set_fault(fault);
                line
            }
            Trouble::Pages => {
                let kinds = [FaultKind::Moved, FaultKind::NotFoundPage, FaultKind::NotAllowedPage, FaultKind::Page];
                let fault = fault(self.rng.pick(&kinds).copied().unwrap_or(FaultKind::Page));
                let line = format!("{}: {:?} at {:?}", crm.name(), fault.kind, fault.calls);
                crm.set_fault(fault);
                line
            }
            Trouble::Outage => {
                let name = crm.name();
                crm.set_down(true);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds * 4)).await;
                    crm.set_down(false);
                });
                format!("{name} is away for {} s", seconds * 4)
            }
            Trouble::Webhooks => {
                let kinds =
                    [HookFaultKind::Lost, HookFaultKind::Delayed, HookFaultKind::Doubled, HookFaultKind::Overtaken];
                let kind = self.rng.pick(&kinds).copied().unwrap_or(HookFaultKind::Lost);
                self.story.hooks_lost |= kind == HookFaultKind::Lost;
                let milliseconds = seconds * 10_000;
                let fault = HookFault { kind, setting: String::new(), after: 0, times: 3, milliseconds };
                crm.set_hook_faults(vec![fault]);
                format!("{}'s next webhooks: {kind:?}", crm.name())
            }
            Trouble::Apis => {
                let fault = self.rng.pick(&ApiFault::ALL).copied().unwrap_or(ApiFault::Broken);
                self.shared.apis.strike(fault, Duration::from_secs(seconds * 3));
                format!("APIs of shops: {fault:?} for {} s", seconds * 3)
            }
            Trouble::WayOut => {
                let mishap = self.rng.pick(&Mishap::ALL).copied().unwrap_or(Mishap::NotSent);
                self.shared.way_out.set_mishap(mishap, Duration::from_secs(seconds));
                format!("the next message: {mishap:?}, {seconds} s")
            }
            Trouble::Queue => {
                let shared = &self.shared;
                let queues = [("events", &shared.events), ("chats", &shared.chats), ("outbox", &shared.outbox)];
                let Some((name, queue)) = self.rng.pick(&queues).map(|(name, queue)| (*name, Arc::clone(queue))) else {
                    return;
                };
                queue.broken.store(true, Ordering::Relaxed);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    queue.broken.store(false, Ordering::Relaxed);
                });
                format!("the queue {name} takes nothing for {seconds} s")
            }
        };
        self.story.tell(line);
    }

    /// Ends all trouble.
    pub fn calm(&mut self) {
        self.story.tell("calm: no faults from here");
        self.shared.calm.store(true, Ordering::Relaxed);
        self.shared.crms().for_each(|crm| crm.calm());
        self.shared.apis.calm();
        self.shared.way_out.calm();
        for queue in [&self.shared.events, &self.shared.chats, &self.shared.outbox] {
            queue.broken.store(false, Ordering::Relaxed);
        }
    }
}
