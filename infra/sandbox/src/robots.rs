//! Robots of the Digital Pipeline and Salesbot: they move a deal that comes to a stage, as user 0.

use std::time::Duration;

use serde_json::json;

use crate::{Sandbox, rows, state::StageIds};

/// Lets the robots move deals that came to another stage. A robot's move sets no other robot off.
pub fn stir(sandbox: &Sandbox, leads: &[u64]) {
    for lead in leads {
        let robot = {
            let state = sandbox.state();
            if state.robots.is_empty() {
                return;
            }
            let row = state.entities.get("leads").and_then(|all| all.get(lead));
            let number = |key: &str| row.and_then(|row| row.get(key)?.as_u64());
            let at = number("pipeline_id").zip(number("status_id"));
            state.robots.iter().find(|robot| Some(robot.from) == at).cloned()
        };
        let Some(robot) = robot else { continue };
        if robot.milliseconds == 0 {
            moved(sandbox, *lead, robot.to, 0);
            continue;
        }
        let (sandbox, lead) = (sandbox.clone(), *lead);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(robot.milliseconds)).await;
            moved(&sandbox, lead, robot.to, 0);
        });
    }
}

/// Moves a deal in the name of a user; 0 is a robot.
pub fn moved(sandbox: &Sandbox, lead: u64, (pipeline, status): StageIds, user: u64) -> bool {
    let row = json!({ "id": lead, "pipeline_id": pipeline, "status_id": status, "updated_by": user });
    rows::change_quietly(sandbox, "leads", &[row]).0.status().is_success()
}
