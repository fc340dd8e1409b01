//! Alarms of a hub on one machine.

texts! { "alarms":
    people_wait(count, since);
    why(before, reason, who);
    rejected(source, count);
    dead_letters(count, parts);
    silent_since_config(source, since);
    silent(source, since, hours);
    people_wait_over();
    rejected_over(source);
    dead_letters_over();
    silent_over(source);
    again(what, times);
    still(since, what);
    over(what);
}
