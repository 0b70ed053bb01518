# Takes the message apart and puts it together again.
use strict;
use warnings;

sub look {
    my (undef, $message) = @_;
    Kamailio::AVP::add("msg", join("\r\n", split(/\r\n/, $message, -1)));
    return 1;
}
