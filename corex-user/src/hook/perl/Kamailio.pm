# What scripts know of corex: the packages of Kamailio's module app_perl.
#line 3 "corex/Kamailio.pm"
use strict;
use warnings;

package Kamailio::Constants;

our (@ISA, @EXPORT);

BEGIN {
    require Exporter;
    @ISA = ('Exporter');
    my %value = (
        SIP_INVALID => 0, SIP_REQUEST => 1, SIP_REPLY => 2,
        # Log levels.
        L_NPRL => -6, L_MIN => -5, L_ALERT => -5, L_BUG => -4, L_CRIT2 => -3, L_CRIT => -2,
        L_ERR => -1, L_WARN => 0, L_NOTICE => 1, L_INFO => 2, L_DBG => 3,
        # Flags of a message.
        FL_WHITE => 1, FL_YELLOW => 2, FL_GREEN => 3, FL_RED => 4, FL_BLUE => 5,
        FL_MAGENTA => 6, FL_BROWN => 7, FL_BLACK => 8, FL_ACC => 9, FL_MAX => 10,
    );
    no strict 'refs';
    for my $name (keys %value) {
        my $value = $value{$name};
        *$name = sub () { $value };
        push @EXPORT, $name;
        *{"Kamailio::$name"} = \&$name;
        # The documentation's example uses the log levels without asking for them.
        *{"main::$name"} = \&$name if $name =~ /^L_/;
    }
    $INC{'Kamailio/Constants.pm'} = 'corex/Kamailio.pm';
}

package Kamailio;

our (@ISA, @EXPORT_OK);

BEGIN {
    @ISA       = ('Exporter');
    @EXPORT_OK = ('log');
    $INC{'Kamailio.pm'} = 'corex/Kamailio.pm';
}

sub log {
    Corex::usage('Kamailio::log(level, text)') unless @_ == 2;
    my ($level, $text) = @_;
    Corex::log_line($level, $text);
    return;
}

package Kamailio::AVP;

BEGIN { $INC{'Kamailio/AVP.pm'} = 'corex/Kamailio.pm' }

sub add($$) {
    my ($name, $value) = @_;
    Corex::tell(AvpAdd => Corex::avp_name($name), Corex::avp_value($value));
    return 0;
}

sub get($) {
    my ($name) = @_;
    return (Corex::ask(AvpGet => Corex::avp_name($name)))[0];
}

sub destroy($) {
    my ($name) = @_;
    return (Corex::ask(AvpDestroy => Corex::avp_name($name)))[0];
}

package Kamailio::Message;

our $AUTOLOAD;

BEGIN { $INC{'Kamailio/Message.pm'} = 'corex/Kamailio.pm' }

# Asks about the message that the object stands for.
sub _ask {
    my ($self, $kind, @values) = @_;
    Corex::check_message($self);
    return Corex::ask($kind => map { Corex::text($_) } @values);
}

# What is in the first line of one kind of message only.
sub _first_line {
    my ($self, $method, $type, $at) = @_;
    my @parts = _ask($self, 'FirstLine');
    if ($parts[0] != $type) {
        my $kind = $type == SIP_REPLY() ? 'a reply' : 'a request';
        Corex::log_line(-1, "$method: the message is not $kind");
        return undef;
    }
    return $parts[$at];
}

BEGIN {
    *SIP_REQUEST = \&Kamailio::Constants::SIP_REQUEST;
    *SIP_REPLY   = \&Kamailio::Constants::SIP_REPLY;
}

sub getType       { return (_ask($_[0], 'FirstLine'))[0] }
sub getVersion    { return (_ask($_[0], 'FirstLine'))[1] }
sub getMethod     { return _first_line($_[0], 'getMethod', SIP_REQUEST, 2) }
sub getRURI       { return _first_line($_[0], 'getRURI', SIP_REQUEST, 3) }
sub getStatus     { return _first_line($_[0], 'getStatus', SIP_REPLY, 4) }
sub getReason     { return _first_line($_[0], 'getReason', SIP_REPLY, 5) }
sub getFullHeader { return (_ask($_[0], 'FullHeader'))[0] }
sub getBody       { return (_ask($_[0], 'Body'))[0] }
sub getMessage    { return (_ask($_[0], 'Message'))[0] }

# All values of one name; an undefined one where there is none.
sub getHeader {
    Corex::usage('Kamailio::Message::getHeader(self, name)') unless @_ == 2;
    my @values = _ask($_[0], 'Header', $_[1]);
    @values = (undef) unless @values;
    return wantarray ? @values : $values[-1];
}

sub getHeaderNames {
    my @pairs = _ask($_[0], 'Headers');
    my @names = @pairs[ grep { $_ % 2 == 0 } 0 .. $#pairs ];
    return wantarray ? @names : $names[-1];
}

# The answer, or `$otherwise` and a log line where it is refused.
sub _try {
    my ($self, $otherwise, $kind, @values) = @_;
    Corex::check_message($self);
    my ($refused, $answer) = Corex::answer($kind => map { Corex::text($_) } @values);
    return $answer unless $refused;
    Corex::log_line(-1, $answer);
    return $otherwise;
}

sub pseudoVar {
    Corex::usage('Kamailio::Message::pseudoVar(self, text)') unless @_ == 2;
    return _try($_[0], undef, 'Format', $_[1]);
}

# The return code, or -1 where the function can't be called.
sub _function {
    my ($self, @function) = @_;
    return _try($self, -1, 'Function', @function);
}

sub moduleFunction {
    my ($self, $function, @args) = @_;
    Corex::usage('Kamailio::Message::moduleFunction(self, function, ...)')
        unless defined $function;
    pop @args while @args && !defined $args[-1];
    return _function($self, $function, map { defined $_ ? $_ : '' } @args);
}

sub rewrite_ruri {
    Corex::usage('Kamailio::Message::rewrite_ruri(self, uri)') unless @_ == 2;
    return _function($_[0], 'rewriteuri', Corex::plain($_[1])) > 0 ? 0 : -1;
}

sub append_branch {
    my ($self, @args) = @_;
    pop @args while @args && !defined $args[-1];
    return _function($self, 'append_branch', map { Corex::plain($_) } @args);
}

sub setFlag   { return _function($_[0], 'setflag',   Corex::plain($_[1])) }
sub resetFlag { return _function($_[0], 'resetflag', Corex::plain($_[1])) }
sub isFlagSet { return _function($_[0], 'isflagset', Corex::plain($_[1])) > 0 ? 1 : 0 }

sub getParsedRURI {
    my @parts = _ask($_[0], 'Uri');
    return @parts ? Kamailio::URI->_new(@parts) : undef;
}

sub log {
    Corex::usage('Kamailio::Message::log(self, level, text)') unless @_ == 3;
    Corex::log_line($_[1], $_[2]);
    return;
}

# Any function of a module as a method.
sub AUTOLOAD {
    my $name = $AUTOLOAD;
    $name =~ s/.*:://;
    Corex::usage("\$message->$name(...)") unless ref $_[0];
    return moduleFunction(shift, $name, @_);
}

sub DESTROY  { }
sub import   { }
sub unimport { }

package Kamailio::URI;

BEGIN { $INC{'Kamailio/URI.pm'} = 'corex/Kamailio.pm' }

sub _new {
    my ($class, @parts) = @_;
    my %self;
    @self{qw(user passwd host port params headers)} = @parts;
    for my $param (split /;/, defined $self{params} ? $self{params} : '') {
        my ($name, $value) = split /=/, $param, 2;
        $name = $name eq 'user' ? 'user_param' : lc $name;
        next unless $name =~ /^(?:transport|ttl|user_param|maddr|method|lr|r2)$/;
        @self{ $name, "${name}_val" } = ($param, $value);
    }
    return bless \%self, $class;
}

BEGIN {
    no strict 'refs';
    for my $field (
        qw(user passwd host port params headers),
        map { ($_, "${_}_val") } qw(transport ttl user_param maddr method lr r2)
      )
    {
        *$field = sub { return $_[0]{$field} };
    }
}
