# Example 1.15, as it stands in the documentation: for 14-network-msg-perl.cfg.
#
# When to use it: with messages that are not compressed coming by the same way; gunzip() hands
# what isn't gzip on as it is.

use strict;
use warnings;
use IO::Compress::Gzip qw(gzip $GzipError) ;
use IO::Uncompress::Gunzip qw(gunzip $GunzipError) ;

sub do_compress() {
my $input = shift;
my $output;

gzip \$input => \$output
or eval {
Kamailio::log(L_WARN, "GZIP failed: $GzipError\n");
$output = $input;
};

Kamailio::AVP::add("msg", $output);
}

sub do_uncompress() {
my $input = shift;
my $output;

gunzip \$input => \$output
or eval {
Kamailio::log(L_WARN, "GUNZIP failed: $GzipError\n");
$output = $input;
};

Kamailio::AVP::add("msg", $output);
}
