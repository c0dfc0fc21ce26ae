//! Each rule, left out, shows in the script that it is for.

use super::*;
use crate::mutant::{Mutant, switch};

#[test]
fn a_rule_that_is_left_out_shows_in_its_script() {
    let controls: [(Mutant, fn()); 9] = [
        (Mutant::EqualWhenUnsettled, scripts::digest),
        (Mutant::FetchOnce, scripts::endrule),
        (Mutant::ServeGaps, scripts::noesc),
        (Mutant::LaterClock, scripts::endclock),
        (Mutant::ScrubBelieves, scripts::a_record_that_is_gone_without_a_trace_is_found),
        (Mutant::ExchangeOutlivesPeer, scripts::a_peer_that_has_lost_everything_ends_the_exchange),
        (Mutant::AbsentSaysNothing, scripts::noabsent),
        (Mutant::ListBelieves, scripts::a_list_that_lacks_a_record_is_damage_and_no_delete),
        (Mutant::DigestKeepsDeletes, scripts::a_record_that_is_gone_without_a_trace_is_found),
    ];
    for (mutant, script) in controls {
        switch(Some(mutant));
        let shown = std::panic::catch_unwind(script).is_err();
        switch(None);
        assert!(shown, "{}", mutant.name());
    }
}
