/// The action of a link in an e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentAction {
    Unsubscribe,
    Confirm,
}
