### Notes in the CRM: conversations, forms, and what the hub did to contacts.

# Lines of a conversation. $at is a time, $channel a messenger.
notes_opened = { $at } { $channel }: opened the chat
notes_opened_through_link = { $at } { $channel }: opened the chat through a link
notes_opened_with = { $at } { $channel }: opened the chat with "{ $token }"
notes_undelivered = { $at } { $channel } ◂ not delivered
notes_undelivered_because = { $at } { $channel } ◂ not delivered ({ $code })
# $kind is the messenger's word for a picture, a voice message and so on.
notes_content = { $kind }
notes_missing = … { $channel }: lines from before these may be missing here; `stagedoor export` prints them

# What somebody wrote into a form.
notes_form = form "{ $name }"
notes_form_cut = … (`stagedoor export` prints the rest)

# Two contacts of one person, and the end of that. The hub reads duplicate_of, parted and counts again.
notes_same_person = The same person as contact { $of }: a phone, an e-mail or an order of both is the same. The deals were moved there; merge the two in the interface.
notes_duplicate_of = Duplicate of { $of }: its deals were moved there
notes_has_duplicate = { $contact } is a duplicate of this contact: merge them
notes_parted = Two people were parted: this contact is a duplicate of none of the other's any more
notes_counts = No duplicate any more: this is the contact of its person
