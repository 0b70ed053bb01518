# Serves calls from corex: loads the script, then waits for frames on a socket.
#line 3 "corex/driver.pl"
package Corex;

use strict;
use warnings;
use B ();

# What is lexical here can't be reached from a script.
my ($number, $script, $modpath, $memory, $parent, $destroy, %number_of);
my ($socket, $pid);
my ($in, $out) = ('', '');
# The calls that are under way, the innermost last.
my @calls;
my $asked = 0;

my %KIND = (
    CALL        => 1,
    REPLY       => 2,
    REFUSE      => 3,
    READY       => 16,
    NOTLOADED   => 17,
    DONE        => 18,
    DIED        => 19,
    LOG         => 32,
    AVPADD      => 33,
    AVPGET      => 34,
    AVPDESTROY  => 35,
    MESSAGE     => 36,
    FIRSTLINE   => 37,
    FULLHEADER  => 38,
    BODY        => 39,
    HEADERS     => 40,
    HEADER      => 41,
    FORMAT      => 42,
    FUNCTION    => 43,
    URI         => 44,
);
my ($CALL, $REPLY, $REFUSE) = @KIND{qw(CALL REPLY REFUSE)};
my $MAX_LEN    = 1 << 20;
my $MAX_REASON = 8000;
my $MAX_LINE   = 64 << 10;
# What waits for the next question or the end of the call at most.
my $MAX_WAITING = 64 << 10;

# A child dies with its parent, and can't speak for it.
BEGIN {
    no warnings 'once';
    *CORE::GLOBAL::fork = sub () {
        my $parent = $$;
        my $child  = CORE::fork();
        if (defined $child && $child == 0) {
            close $socket;
            end_with($parent);
        }
        return $child;
    };
}

sub leave { kill 9, $$ }

# The kernel kills this process when the other one ends, which may just have happened.
sub end_with {
    my ($parent) = @_;
    syscall $number_of{prctl}, 1, 9, 0, 0, 0;
    leave() unless getppid == $parent;
}

# Dies where the script called.
sub complain {
    my ($what) = @_;
    my ($file, $line);
    for (my $level = 1 ; ; $level++) {
        (undef, $file, $line) = caller $level or last;
        last unless $file =~ m{^corex/};
    }
    die "$what at $file line $line.\n";
}

sub usage { complain("Usage: $_[0]") }

sub flush_out {
    while (length $out) {
        # One statement: a signal handler that dies must leave nothing half done.
        substr($out, 0, syswrite($socket, $out) // ($! == 4 ? 0 : leave()), '');
    }
}

sub put {
    my ($kind, $sequence, $payload) = @_;
    $out .= pack('CCNN', 0xc5, $KIND{ uc $kind }, $sequence, length $payload) . $payload;
}

# The next frame; nothing when corex has closed its end.
sub frame {
    while (1) {
        if (length $in >= 10) {
            my (undef, $kind, $sequence, $len) = unpack 'CCNN', $in;
            if (length $in >= 10 + $len) {
                return ($kind, $sequence, substr(substr($in, 0, 10 + $len, ''), 10));
            }
        }
        my $read = sysread $socket, $in, 1 << 18, length $in;
        return if defined $read ? $read == 0 : $! != 4;
    }
}

sub text {
    my ($text) = @_;
    return "\0" unless defined $text;
    $text = "$text";
    utf8::encode($text) if utf8::is_utf8($text);
    return pack 'CN/a*', 2, $text;
}

sub integer { return pack 'Cq>', 1, $_[0] }

# Text in which nothing is a pseudo-variable.
sub plain {
    my ($text) = @_;
    $text = '' unless defined $text;
    $text =~ s/\$/\$\$/g;
    return $text;
}

# Whether a value is a number and not text.
sub is_number {
    my $flags = B::svref_2object(\$_[0])->FLAGS;
    return !($flags & B::SVf_POK()) && ($flags & (B::SVf_IOK() | B::SVf_NOK()));
}

sub is_integer { return abs($_[0]) < 9.2e18 && $_[0] == int $_[0] }

sub avp_name {
    my ($name) = @_;
    # First of all: in an older Perl a number that was read as text looks like text.
    my $is_number = is_number($name);
    complain('the name of an AVP is a string or an integer')
        if !defined $name || ref $name || $name eq '';
    return text($is_number ? "i:$name" : $name);
}

sub avp_value {
    my ($value) = @_;
    complain('the value of an AVP is a string or an integer') if ref $value;
    return text($value) unless is_number($value) && is_integer($value);
    return integer($value);
}

sub values_of {
    my ($payload) = @_;
    my ($at, $end, @values) = (0, length $payload);
    while ($at < $end) {
        my $tag = ord substr $payload, $at, 1;
        if ($tag == 2) {
            my $len = unpack 'N', substr $payload, $at + 1, 4;
            push @values, substr $payload, $at + 5, $len;
            $at += 5 + $len;
        }
        elsif ($tag == 1) {
            push @values, unpack 'q>', substr $payload, $at + 1, 8;
            $at += 9;
        }
        else {
            push @values, undef;
            $at++;
        }
    }
    return @values;
}

sub check_call {
    complain('this works only in the process that corex started, not in a forked child')
        unless $$ == $pid;
    complain('there is no message: nothing has called the script') unless @calls;
}

# The object stands for one call's message and is of no use after it.
sub check_message {
    my ($self) = @_;
    complain('this is a method of a Kamailio::Message')
        unless ref $self && eval { $self->isa('Kamailio::Message') };
    check_call();
    complain('the message of this object is no longer handled') unless $$self == $calls[-1];
}

sub check_len {
    my ($payload) = @_;
    complain("that is more than the $MAX_LEN bytes that can be handed over")
        if length $payload > $MAX_LEN;
    return $payload;
}

# Says something that has no answer. It waits for what comes next.
sub tell {
    my ($kind, @values) = @_;
    local $!;
    check_call();
    put($kind, 0, check_len(join '', @values));
    flush_out() if length $out > $MAX_WAITING;
}

# Asks; the values of the answer.
sub ask {
    my ($refused, @answer) = answer(@_);
    complain($answer[0]) if $refused;
    return @answer;
}

# Asks; whether that is refused, then the values of the answer, or the reason.
sub answer {
    my ($kind, @values) = @_;
    local $!;
    check_call();
    my $sequence = $asked = ($asked + 1) & 0xffffffff;
    put($kind, $sequence, check_len(join '', @values));
    flush_out();
    while (my ($kind, $about, $payload) = frame()) {
        if ($kind == $CALL) {
            run($about, $payload);
        }
        elsif ($about == $sequence) {
            return ($kind == $REFUSE, values_of($payload));
        }
        # Else the answer to a question that a signal handler has put an end to.
    }
    leave();
}

sub log_line {
    my ($level, $text) = @_;
    $text = defined $text ? substr $text, 0, $MAX_LINE : '';
    if (@calls && $$ == $pid) {
        local $!;
        put('LOG', 0, check_len(integer(int $level) . text($text)));
        flush_out();
    }
    else {
        chomp $text;
        print STDERR "$text\n";
    }
}

# Calls a function of the script and says what came of it.
sub run {
    my ($id, $payload) = @_;
    my ($name, $with_message, @args) = values_of($payload);
    my $depth = @calls;
    my ($value, $returned, $reason);
    local ($@, $_);
    {
        # A block of its own: what ends a loop ends at most this one.
        push @calls, $id;
        $returned = eval {
            no strict 'refs';
            die "there is no function $name\n" unless defined &{"main::$name"};
            unshift @args, bless \(my $call = $id), 'Kamailio::Message' if $with_message;
            $value = &{"main::$name"}(@args);
            1;
        };
        $reason = $@;
    }
    $#calls = $depth - 1;
    leave() unless $$ == $pid;
    if ($returned) {
        put('DONE', $id, $with_message ? returned($value) : integer(1));
    }
    else {
        $reason = eval { "$reason" };
        $reason = 'it was left by last, next or exit' if !defined $reason || $reason eq '';
        put('DIED', $id, text(substr $reason, 0, $MAX_REASON));
    }
    flush_out();
}

# A return value as an integer, if it is a number.
sub returned {
    my ($value) = @_;
    return "\0" unless defined $value;
    # What a comparison yields is both: the empty string and 0, or 1 and 1.
    my $is_number = B::svref_2object(\$value)->FLAGS & (B::SVf_IOK() | B::SVf_NOK());
    if (!ref $value && ($is_number || $value =~ /^\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*$/)) {
        return integer(int $value) if is_integer(int $value);
    }
    my $shown = ref $value ? 'a reference' : substr "$value", 0, 200;
    return text($shown);
}

sub not_loaded {
    my ($reason) = @_;
    put('NOTLOADED', 0, text(substr $reason, 0, $MAX_REASON));
    flush_out();
    leave();
}

# Bounds, and an end when corex ends, however that comes about.
sub confine {
    my $bytes = pack 'QQ', $memory, $memory;
    my $none  = pack 'QQ', 0, 0;
    syscall($number_of{prlimit}, 0, $number_of{memory}, $bytes, 0) == 0
        or not_loaded("the bound of memory can't be set: $!\n");
    syscall $number_of{prlimit}, 0, $number_of{core}, $none, 0;
    end_with($parent);
}

sub load {
    open my $file, '<', $script or not_loaded("$script: $!\n");
    close $file;
    unshift @INC, split /:/, $modpath;
    @ARGV = ();
    # What FindBin and the like go by.
    $0 = $script;
    {
        # The package that the file begins in.
        package main;
        do $script;
    }
    not_loaded($@) if $@ ne '';
    $0 = "corex-perl worker $number";
}

sub main {
    ($number, $script, $modpath, $memory, $parent, $destroy, my @numbers) = splice @ARGV;
    # To syscall() text is an address.
    @number_of{qw(prctl prlimit memory core)} = map { $_ + 0 } @numbers;
    $pid = $$;
    # The socket came as standard input, which is nothing from here on. F_DUPFD_CLOEXEC: programs
    # that the script starts don't get it.
    my $descriptor = fcntl STDIN, 1030, 100 or die "fcntl: $!\n";
    open $socket, '+<&=', $descriptor or die "open: $!\n";
    binmode $socket;
    open STDIN, '<', '/dev/null' or die "/dev/null: $!\n";
    $| = 1;
    confine();
    load();
    put('READY', 0, '');
    flush_out();
    while (my ($kind, $id, $payload) = frame()) {
        run($id, $payload) if $kind == $CALL;
    }
    no strict 'refs';
    eval { &{"main::$destroy"}() } if $destroy ne '' && defined &{"main::$destroy"};
    exit 0;
}

main();
