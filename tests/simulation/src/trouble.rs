//! Faults of the world: what breaks at the CRM, on the way, and in the hub's own processes.

use std::{sync::atomic::Ordering, time::Duration};

use stagedoor_sandbox::{Fault, FaultKind, HookFault, HookFaultKind};

use crate::act::Actors;

const CALLS: [&str; 10] = [
    "POST /api/v4/contacts",
    "POST /api/v4/leads",
    "PATCH /api/v4/leads",
    "PATCH /api/v4/contacts",
    "GET /api/v4/leads",
    "GET /api/v4/contacts",
    "POST /api/v4/contacts/notes",
    "POST /api/v4/tasks",
    "POST /api/v4/leads/link",
    "",
];

/// A kind of trouble that a world may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A call fails: throttled, 500, 504, cut off, its answer lost.
    FailedCall,
    /// A call takes effect after its caller gave up.
    LateEffect,
    /// 301, 404, 405 and pages where the API was.
    Pages,
    /// The CRM is away for minutes.
    Outage,
    /// The CRM's webhooks are lost, late, doubled or overtaken.
    Webhooks,
    /// The queue takes nothing for a while.
    Queue,
}

impl Actors {
    pub fn trouble(&mut self, trouble: Trouble) {
        let calls = self.rng.pick(&CALLS).copied().unwrap_or_default().to_owned();
        let (after, amocrm) = (u32::from(self.rng.once_in(2)), self.shared.amocrm.clone());
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
                let line = format!("amoCRM: {:?} at {:?}", fault.kind, fault.calls);
                amocrm.set_fault(fault);
                line
            }
            Trouble::LateEffect => {
                let kinds = [FaultKind::LateAfterTimeout, FaultKind::LateAfterCut, FaultKind::LateWithoutAnswer];
                let mut fault = fault(self.rng.pick(&kinds).copied().unwrap_or(FaultKind::LateAfterCut));
                fault.calls = self.rng.either("POST /api/v4/contacts$", "POST /api/v4/leads$").into();
                let line = format!("amoCRM: {:?} at {:?}, {seconds} s later", fault.kind, fault.calls);
                amocrm.set_fault(fault);
                line
            }
            Trouble::Pages => {
                let kinds = [FaultKind::Moved, FaultKind::NotFoundPage, FaultKind::NotAllowedPage, FaultKind::Page];
                let fault = fault(self.rng.pick(&kinds).copied().unwrap_or(FaultKind::Page));
                let line = format!("amoCRM: {:?} at {:?}", fault.kind, fault.calls);
                amocrm.set_fault(fault);
                line
            }
            Trouble::Outage => {
                amocrm.set_down(true);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds * 4)).await;
                    amocrm.set_down(false);
                });
                format!("amoCRM is away for {} s", seconds * 4)
            }
            Trouble::Webhooks => {
                let kinds =
                    [HookFaultKind::Lost, HookFaultKind::Delayed, HookFaultKind::Doubled, HookFaultKind::Overtaken];
                let kind = self.rng.pick(&kinds).copied().unwrap_or(HookFaultKind::Lost);
                self.story.hooks_lost |= kind == HookFaultKind::Lost;
                let milliseconds = seconds * 10_000;
                let fault = HookFault { kind, setting: String::new(), after: 0, times: 3, milliseconds };
                amocrm.set_hook_faults(vec![fault]);
                format!("amoCRM's next webhooks: {kind:?}")
            }
            Trouble::Queue => {
                let events = std::sync::Arc::clone(&self.shared.events);
                events.broken.store(true, Ordering::Relaxed);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    events.broken.store(false, Ordering::Relaxed);
                });
                format!("the queue takes nothing for {seconds} s")
            }
        };
        self.story.tell(line);
    }

    /// Ends all trouble.
    pub fn calm(&mut self) {
        self.story.tell("calm: no faults from here");
        self.shared.calm.store(true, Ordering::Relaxed);
        self.shared.amocrm.clear_faults();
        self.shared.amocrm.set_hook_faults(vec![]);
        self.shared.amocrm.release_hooks();
        self.shared.amocrm.set_down(false);
        self.shared.events.broken.store(false, Ordering::Relaxed);
    }
}
