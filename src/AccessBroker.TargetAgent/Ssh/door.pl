#!/usr/bin/perl
# sshd's ForceCommand: runs under the session's account and does nothing but carry bytes between sshd and the agent, which starts the shell. Killing it ends
# the connection; it cannot change what is recorded. In Perl (every Debian has it) because a process of .NET takes longer to begin and to die than
# everything else of a session: when a hundred sessions end at once, that is what their ends would wait for.
#   perl door.pl SOCKET                          a shell, or what SSH_ORIGINAL_COMMAND says
#   perl door.pl SOCKET extend MINUTES REASON    asks for more time, from inside a session
# The agent's frames (Frames.cs): a letter, a length (4 bytes, big-endian), the content.
use strict;
use warnings;
use Fcntl;
use Socket;

use constant { BLOCK => 16 * 1024, WAITING => 256 * 1024, GET_WINDOW_SIZE => 0x5413 };

my ($path, $act, $minutes, $reason) = @ARGV;
my $agent;
socket($agent, PF_UNIX, SOCK_STREAM, 0) && connect($agent, pack_sockaddr_un($path)) or refuse();
$SIG{PIPE} = 'IGNORE';
my $tty = !$act && length($ENV{SSH_TTY} // '') > 0;
my $resized = 0;
my ($up, $in, $exit, $typing, $listening, $heard) = ('', '', undef, !$act, 1, 1);
my %down = (o => '', r => '');
my %screen = (o => \*STDOUT, r => \*STDERR);

if ($act) {
    unless ($act eq 'extend' && ($minutes // '') =~ /^[1-9][0-9]{0,3}$/) { print STDERR "access-extend 分数 '理由'\n"; exit 2; }
    frame('h', "{\"extend\":$minutes,\"reason\":" . text($reason // '') . '}');
} else {
    my ($rows, $columns) = $tty ? size() : (0, 0);
    if ($tty) { system('stty', 'raw', '-echo'); $SIG{WINCH} = sub { $resized = 1 }; }
    my $command = exists $ENV{SSH_ORIGINAL_COMMAND} ? text($ENV{SSH_ORIGINAL_COMMAND}) : 'null';
    frame('h', "{\"command\":$command,\"tty\":" . ($tty ? 'true' : 'false') . ',"term":' . text($ENV{TERM} // 'dumb') . ",\"rows\":$rows,\"columns\":$columns}");
}
for my $handle ($agent, \*STDOUT, \*STDERR) { fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK); }

# Neither way waits for the other: what cannot be written yet is kept, and no more is read meanwhile.
while ($listening || length($down{o}) || length($down{r})) {
    if ($resized) { $resized = 0; frame('w', pack('N2', size())); }
    my ($readable, $writable) = ('', '');
    vec($readable, fileno(STDIN), 1) = 1 if $typing && length($up) < WAITING;
    vec($readable, fileno($agent), 1) = 1 if $listening && length($down{o}) + length($down{r}) < WAITING;
    vec($writable, fileno($agent), 1) = 1 if length($up) && $listening;
    for my $kind ('o', 'r') { vec($writable, fileno($screen{$kind}), 1) = 1 if length($down{$kind}); }
    next if select($readable, $writable, undef, undef) < 0;
    # The agent takes no more input when its command is over: what it still has to show, and the exit code, are read all the same.
    if (vec($writable, fileno($agent), 1)) { put($agent, \$up) or ($typing, $heard) = (0, 0); }
    $up = '' unless $heard;
    for my $kind ('o', 'r') { if (vec($writable, fileno($screen{$kind}), 1)) { put($screen{$kind}, \$down{$kind}) or leave(255); } }
    if (vec($readable, fileno(STDIN), 1)) {
        my $read = sysread(STDIN, my $typed, BLOCK);
        if ($read) { frame('i', $typed); }
        elsif (defined $read) { frame('e', ''); $typing = 0; }
        elsif (!again()) { $typing = 0; }
    }
    if (vec($readable, fileno($agent), 1)) {
        my $read = sysread($agent, $in, BLOCK, length $in);
        if ($read) { take(); } elsif (defined $read || !again()) { $listening = 0; }
    }
}
leave($exit // 255);

sub frame { my ($kind, $content) = @_; $up .= $kind . pack('N', length $content) . $content; }

sub take {
    while (length($in) >= 5) {
        my ($kind, $length) = unpack('aN', $in);
        leave(255) if $length > 64 * 1024;
        return if length($in) < 5 + $length;
        my $content = substr($in, 5, $length);
        substr($in, 0, 5 + $length) = '';
        if (exists $down{$kind}) { $down{$kind} .= $content; }
        elsif ($kind eq 'x') { $exit = length($content) == 4 ? unpack('N', $content) & 255 : 255; $listening = 0; }
    }
}

sub put { my ($handle, $waiting) = @_; my $written = syswrite($handle, $$waiting); return again() unless defined $written; substr($$waiting, 0, $written) = ''; return 1; }

sub again { return $!{EAGAIN} || $!{EINTR}; }

sub size { my $window = pack('S4', 0); return ioctl(STDIN, GET_WINDOW_SIZE, $window) ? (unpack('S4', $window))[0, 1] : (24, 80); }

# A JSON string; what is no UTF-8 is replaced.
sub text {
    my ($bytes) = @_;
    $bytes =~ s/[^\x00-\x7f]/?/g unless utf8::decode($bytes) && $bytes !~ /[\x{d800}-\x{dfff}\x{110000}-\x{7fffffff}]/;
    $bytes =~ s/(["\\])/\\$1/g;
    $bytes =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge;
    utf8::encode($bytes);
    return "\"$bytes\"";
}

sub refuse { print STDERR "この接続は、いま使えません。\n"; exit 254; }

sub leave { my ($code) = @_; system('stty', 'sane') if $tty; exit $code; }
