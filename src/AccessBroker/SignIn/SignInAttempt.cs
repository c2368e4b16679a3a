using System.Security.Cryptography.X509Certificates;
using AccessBroker.Assurance;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.People;
using AccessBroker.Primitives;
using AccessBroker.Terminals;

namespace AccessBroker.SignIn;

/// <summary>What one step of a sign-in has before it, and what the checks have found out so far.</summary>
internal sealed class SignInAttempt(UnitOfWork work, AttachedTerminal attached, Transaction transaction)
{
    internal UnitOfWork Work => work;
    internal AttachedTerminal Attached => attached;
    internal Transaction Transaction => transaction;

    /// <summary>The certificate the card showed: of 9E with the possession, of 9A with the proof.</summary>
    internal X509Certificate2? Certificate { get; init; }
    /// <summary>Its signature: DER, over the fields of the step.</summary>
    internal byte[] Signature { get; init; } = [];

    /// <summary>PIN tries the card has left, as read before the prompt.</summary>
    internal int TriesFound { get; init; }

    // What the database says, read before the checks run (SignInSteps.ReadAsync): one round trip for all, not one for each.

    /// <summary>The terminal is in use, with the certificate it attached with.</summary>
    internal bool TerminalStands { get; init; }
    /// <summary>The lock on the terminal for everyone.</summary>
    internal Lockout.Lock? TerminalLock { get; init; }
    /// <summary>The card that the certificate names; null: not ours, or none was shown.</summary>
    internal Card? Card { get; init; }
    /// <summary>Its person, valid now.</summary>
    internal ValidPerson? Person { get; set; }
    /// <summary>The person has a grant for this terminal now.</summary>
    internal bool MaySitHere { get; set; }
    /// <summary>The lock on the person, here or everywhere.</summary>
    internal Lockout.Lock? PersonLock { get; set; }

    /// <summary>What has been proven.</summary>
    internal IReadOnlyCollection<Proof> Proofs { get; set; } = [];
    /// <summary>The passkey's model is known and trusted.</summary>
    internal bool Attested { get; init; }
    /// <summary>An odd hour, a terminal the person has never used, or many failures: may only raise what is needed.</summary>
    internal bool IsRisky { get; init; }
    /// <summary>Set by the check of factors: what segment, relying party and request asked for.</summary>
    internal Acr Needed { get; set; } = Acr.Multi;
    /// <summary>Set by the check of factors: the methods of which one is still needed.</summary>
    internal string Missing { get; set; } = "";

    /// <summary>Whose number was typed: nothing is proven by it. Null: nobody's, or nothing was typed.</summary>
    internal PersonId? Named { get; set; }
    /// <summary>Whom a refusal counts against, beside the terminal; null: nobody.</summary>
    internal PersonId? FailsAgainst { get; set; }

    /// <summary>Set by the lockout checks: which lock refused.</summary>
    internal Lockout.Lock? Lock { get; set; }
}
