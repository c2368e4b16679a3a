using System.Security.Cryptography.X509Certificates;
using AccessBroker.Cards;
using AccessBroker.Database;
using AccessBroker.People;
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

    /// <summary>Set by <see cref="SignInChecks.CardIsKnown"/>.</summary>
    internal Card? Card { get; set; }
    /// <summary>Set by <see cref="SignInChecks.PersonIsValid"/>.</summary>
    internal ValidPerson? Person { get; set; }
    /// <summary>Set by the lockout checks: until when.</summary>
    internal Lockout.Lock? Lock { get; set; }
}
