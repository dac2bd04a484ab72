# An application that reads a table made before the fork.
use strict;
use warnings;

my @words = map { 'w' x ($_ % 40) } 1 .. 20000;

sub {
    my %seen;
    $seen{length $_}++ for @words;
    my $body = 'words: ' . scalar keys %seen;
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $body], [$body]];
};
