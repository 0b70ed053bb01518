# Leaves the message as it is.
use strict;
use warnings;

sub copy {
    my $message = shift;
    Kamailio::AVP::add("msg", $message);
    return 1;
}

1;
