### What commands print for managers.

# status: a label of 14 characters, then the text.
commands_queue = queue         { $count } events
commands_oldest = { $line }, the oldest { $seconds } s
commands_outbox = outbox        { $count } messages to send
commands_dead_letters = dead letters  { $count }
commands_waiting = waiting       { $count } people for the CRM
commands_longest = { $line }, the longest { $seconds } s
commands_parked = parked        { $count } people with a row that the CRM refused, or money without an order
commands_unrecognized = unrecognized  { $count } deliveries kept for replay
commands_in_all = in all        { $people } people, { $deals } deals, { $events } events
commands_unreadable = unreadable    { $count } stored people and events that this version cannot read
commands_new_rules = new rules     { $count } of { $all } people were held against new segments and mailings
commands_alarm = alarm         { $name }, since { $since }: { $text }
commands_why = why           { $reason }
commands_act = since { $since }; to act: { $who }
commands_act_until = since { $since }, until { $until } at the latest; to act: { $who }
commands_people_wait = { $count } people, { $act }
commands_advertising_held = advertising   held since the restore at { $since }; `advertising` lists it
commands_zones = zones         no IANA zones: { $zones }; the offset of the times is used, or the hub's zone

# campaign: a label, then figures in columns. $share is a share in per cent or nothing.
commands_sent = sent          { $count }   (not sent: { $not_sent })
commands_opened = opened        { $count }{ $share }
commands_chats = chats         { $count }{ $share }
commands_codes = codes         { $count }
commands_purchases = purchases     { $count }{ $share }
commands_by_code = by code
commands_by_link = by link
commands_by_click = by click
commands_by_view = by view
commands_revenue = revenue       { $sum }
commands_unsubscribed = unsubscribed  { $count }

# join, part, crowd, reopen.
commands_one_person = one person: { $id }
commands_two_people = two people: { $one } and { $other }
commands_crm_follows = the CRM follows with the next run
commands_not_joined = not joined, and nothing is recorded: a decision says that they are two people. Take it back first: { $commands }
commands_not_parted = not parted, and nothing is recorded: no fact tells of { $other } alone. Correct it where it was entered
commands_same_identifier = both are the same identifier; name two, one of each person
commands_shared = { $identifier } belongs to a crowd and names nobody; name the person otherwise
commands_unknown = nobody is known by { $identifier }
commands_typed_crowd = { $value }  (typed in forms and chats; what shops tell of it still joins)
commands_no_crowd = { $identifier } is not marked as a crowd's
commands_lifted = lifted; { $count } people had it, and those whom no guard keeps apart are one now
commands_not_held_back = { $address } is not held back: no letter to it failed since the last that arrived
commands_reopened = letters go to it again, where a consent stands or none is needed
commands_reopened_provider = the mail provider may hold it back, too: take it off its suppression list

# erase.
commands_erased_unknown = nobody was known; the identifier is kept from coming back
commands_erased = erased, and { $count } identifiers are kept from coming back
commands_erased_traces = { $count } kept deliveries and waiting messages about them are removed
commands_off_lists = taken off these mailing lists: { $names }
commands_several = { $count } people have { $identifier }; erase each by an identifier of their own, or all with --everyone: { $people }
commands_not_erased = not erased: { $reason }
commands_the_crm = the CRM
commands_second_crm = the second CRM
commands_deleted_there = deleted in { $crm }, empty its recycle bin
commands_delete_refused = delete these contacts in { $crm }, it did not let the hub do it
commands_delete_by_hand = delete these contacts in { $crm }, it has no call for it
commands_delete_deals = and these deals in { $crm }
commands_invoices_stay = these invoices stay in { $crm }, as documents of the accounts
commands_typed_by_others = others typed one of their addresses; take it out of these contacts in { $crm }, their notes and tasks

# explain.
commands_without_name = without a name
commands_kept_apart = { $count } people have { $identifier }, and a guard keeps them apart
commands_shares = shares { $what } with { $record }
commands_made_from = the record that the person was made from
commands_crm_row = a row of the CRM that was made for them
commands_typed_proven = typed { $claim }: somebody else proves it
commands_typed = typed { $claim }: not confirmed
commands_was_joined = was joined with { $id }
commands_apart_from = kept apart from { $id } by a guard

# segment.
commands_in_segment = { $count } people are in { $name }
commands_member = { $id } { $name } (since { $since })
commands_is_in = { $id } is in { $name } since { $since }
commands_is_not_in = { $id } is not in { $name }

# Other commands.
commands_replayed_between = { $count } events of that time are in the queue again
commands_replayed = { $count } events are in the queue again
commands_understood = { $count } deliveries are understood now and in the queue
commands_not_understood = still not understood: { $what }
commands_invited = { $count } messages are in the outbox; what was sent before is not sent again
commands_without_consent = { $count } people are left alone: they never consented to SMS, or withdrew, or their number takes none
commands_too_often = { $count } people were written to too often lately ([manners])
commands_mirrored = { $count } contacts on { $pages } pages are mirrored
commands_redriven = { $count } dead letters are in the queue again
commands_retried = { $count } people are tried again
commands_authorised = authorised; the tokens are kept in the hub's files
commands_import_queued = { $count } rows are queued
commands_imported = { $count } rows are imported, { $wrong } were left out for their mistakes
commands_import_dry = a dry run: { $count } rows would be imported, { $wrong } hold a mistake; nothing was changed
