using AccessBroker;
using AccessBroker.Authorization;
using AccessBroker.Cards;
using AccessBroker.History;
using AccessBroker.Keys;
using AccessBroker.Lockout;
using AccessBroker.Oidc;
using AccessBroker.Sessions;
using AccessBroker.SignIn;
using AccessBroker.Terminals;
using AccessBroker.Web;

if (args is [not "serve", ..] && args[0].Length > 0 && args[0][0] != '-') return await Commands.RunAsync(args);

var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args is ["serve", .. var rest] ? rest : args, ContentRootPath = AppContext.BaseDirectory, WebRootPath = Path.Combine(AppContext.BaseDirectory, "Web/wwwroot") });
var (broker, hsm) = Configuration.Read(builder.Configuration);
builder.ConfigureServer(broker);

builder.Services.AddSingleton(broker);
builder.Services.AddSingleton(TimeProvider.System);
builder.Services.AddDatabase(broker.Database, broker.Redis);
builder.Services.AddWeb();
builder.Services.AddHistory(broker.DataDirectory);
builder.Services.AddKeys(hsm, broker.CaDirectory);
builder.Services.AddOperationAuthorization(broker.PolicyDirectory);
builder.Services.AddLockout(broker.PolicyDirectory);
builder.Services.AddTerminals();
builder.Services.AddCards();
builder.Services.AddSessions(broker.PolicyDirectory, broker.Node);
builder.Services.AddSignIn(broker.PolicyDirectory);
builder.Services.AddOidc();

var app = builder.Build();
await app.RequireReadyAsync();
app.UseWeb();
app.UseRouting();
app.UseRateLimiter();
app.UseWebSockets();
app.UseAuthentication();
app.UseRefusalHistory();
app.UseAuthorization();
app.NoteAuthorized();
app.MapWeb();
app.MapTerminals();
app.MapSignIn();
app.MapOidc();
await app.RunAsync();
return 0;
