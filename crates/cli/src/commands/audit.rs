//! `holdfast audit`.

use clap::Args;
use proto::v1::{AuditItemRequest, AuditLevel, AuditVerdict};

use super::{Outcome, Session};
use crate::describe;
use crate::exit::Exit;

/// What to audit.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// The item
    #[arg(value_name = "ITEM")]
    item_id: String,

    /// Count every record too, not only the counters
    #[arg(long)]
    records: bool,
}

pub(super) async fn audit(session: Session, args: AuditArgs) -> Outcome {
    let level = if args.records {
        AuditLevel::Records
    } else {
        AuditLevel::Counters
    };
    let request = AuditItemRequest {
        item_id: args.item_id,
        level: level.into(),
    };
    let reply = session.client.audit_item(request).await?;
    session.printer.print(None, &describe::audit(&reply))?;
    Ok(exit(AuditVerdict::try_from(reply.verdict).ok()))
}

/// What the verdict means for the process.
fn exit(verdict: Option<AuditVerdict>) -> Exit {
    match verdict {
        Some(AuditVerdict::Sound) => Exit::Done,
        Some(AuditVerdict::Violated) => Exit::Refused,
        // A verdict that one does not know is none.
        Some(AuditVerdict::Undecided | AuditVerdict::Unspecified) | None => Exit::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_is_done() {
        assert_eq!(exit(Some(AuditVerdict::Sound)), Exit::Done);
        assert_eq!(exit(Some(AuditVerdict::Violated)), Exit::Refused);
        assert_eq!(exit(Some(AuditVerdict::Undecided)), Exit::Undecided);
        assert_eq!(exit(None), Exit::Undecided);
    }
}
