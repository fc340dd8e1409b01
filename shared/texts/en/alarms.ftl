### Alarms of a hub on one machine.

# What rings. alarms_why adds a reason to $before.
alarms_people_wait = people wait for the CRM: { $count }, the longest since { $since }.
alarms_why = { $before } Why: { $reason }. To act: { $who }.
alarms_rejected = source { $source }: deliveries with a wrong signature in ten minutes: { $count }, or from another origin. Compare the secret with the provider's, and the site or account with the options
alarms_dead_letters = messages were given up: { $count } ({ $parts }). `stagedoor dead-letters` lists them; mend the cause, then `stagedoor redrive`
alarms_silent_since_config = source { $source }: nothing came since it stands in the config ({ $since }). Look whether its webhook is set at the provider
alarms_silent = source { $source }: nothing came since { $since }; in four weeks its longest gap was { $hours } h. Look whether its webhook is still set at the provider

# What rings no more.
alarms_people_wait_over = nobody waits long for the CRM any more
alarms_rejected_over = source { $source }: no wrong signature for ten minutes
alarms_dead_letters_over = no messages are given up any more
alarms_silent_over = source { $source } sends again

# The frame of a message. $what is one of those above.
alarms_again = { $what }. It began { $times } more times since the last message
alarms_still = Still, since { $since }: { $what }
alarms_over = Over: { $what }
