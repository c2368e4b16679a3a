namespace AccessBroker.Cards;

internal static class CardsSlice
{
    internal static void AddCards(this IServiceCollection services) => services.AddSingleton<IssueCard>().AddSingleton<ReportLostCard>();
}
