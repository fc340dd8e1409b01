### Why people and events wait, and who has to act. The hub keeps these sentences in English: a Russian one is found
### by its English one, the first that fits.

# Who has to act.
reasons_nobody = nobody: it is tried again by itself
reasons_owner = the owner of the CRM account
reasons_administrator = an administrator of the CRM, or the operator in stagedoor.toml
reasons_shop = the one who runs the shop
reasons_list_provider = the provider of the mailing list
reasons_manager_row = a manager: correct the row, then `stagedoor retry-parked`
reasons_operator_version = the operator: start the version that wrote them, or a newer one
reasons_operator_shared = the operator: name the phone or e-mail that many people share under `[identity] blocked`, restart, then `stagedoor replay --from <time>`

# What holds people up.
reasons_facts_outgrew = the facts of a person outgrew one stored document: new events about them are only journalled
reasons_crm_outgrew = what is known of a person in the CRM outgrew one stored document: nothing of theirs is sent
reasons_shop_silent = order shop { $one } does not answer; its orders wait in the queue
reasons_list_silent = mailing list { $one } does not answer; its members are changed later
reasons_no_answer_stands = the CRM gave no answer that stands about the rows of these people
reasons_rows_refused = the CRM refused rows of these people; `stagedoor parked` says why
reasons_money_unmatched = money of these people matches no order, or came in another currency; `stagedoor parked` lists it
reasons_manager_money = a manager: find out what it was for, or give it back
reasons_people_unreadable = { $one } stored people cannot be read by this version: { $two }
reasons_events_unreadable = { $one } stored events cannot be read by this version: { $two }
reasons_late_call = a call to the CRM got no answer and may still take effect; its rows are looked up until then
reasons_second_crm = second CRM: { $one }

# What the CRM's clients say.
reasons_unusable_because = the CRM cannot be used now: { $one }
reasons_unusable = the CRM cannot be used now
reasons_refuses = the CRM refuses us: { $one }
reasons_not_paid = the account is not paid
reasons_token = the access token is not accepted; authorise again
reasons_right = the authorised user lacks a right
reasons_limit = the account is blocked for exceeding the request limit
reasons_several_tries = it did not answer well in several tries
reasons_no_connection = no connection
reasons_no_answer = no answer
reasons_no_session = no session
reasons_no_answer_of = { $one }: no answer
reasons_error_says_nothing = it answers with an error and says nothing
reasons_error_for_row = it answers with an error and says nothing, for this row; others are taken
reasons_error_of = { $one }: it answers with an error and says nothing
reasons_web_page = it answers with a web page instead of its webservice
reasons_points_elsewhere = it answers { $one } and points elsewhere; the account's address may have changed: check crm.base_url
reasons_no_api = it answers { $one } instead of its API; check crm.base_url if that lasts
reasons_no_webservice = it answers { $one } instead of its webservice; check the address of the CRM if that lasts
reasons_answers = it answers { $one }
reasons_no_stage = the CRM has no stage { $one } in pipeline { $two }; make it there or change the config
reasons_no_stages = the CRM has no stage { $one }; make them there or change the config
reasons_no_sales_stage = the CRM has no sales stage { $one }; add it to the picklist or change the config
reasons_hides_kind = the CRM shows the hub no { $one } any more: give its user the right to see them
reasons_hides_rows = the CRM hides rows of the hub from its user: give the user the right to see them
reasons_may_not_read = the hub's user may not read or write { $one }: give it the right, or the record another owner
reasons_fresh_session = a fresh session is not accepted: { $one }
