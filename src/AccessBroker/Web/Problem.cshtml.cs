using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.Mvc;
using Microsoft.AspNetCore.Mvc.RazorPages;

namespace AccessBroker.Web;

/// <summary>What a refused or lost request shows. Reached by re-execution only; asked for directly it is 404 itself.</summary>
internal sealed class ProblemModel : PageModel
{
    public string Explanation { get; private set; } = "";

    public IActionResult OnGet(int status) => Show(status);
    public IActionResult OnPost(int status) => Show(status);

    private IActionResult Show(int status)
    {
        if (HttpContext.Features.Get<IStatusCodeReExecuteFeature>() is null) Response.StatusCode = status = StatusCodes.Status404NotFound;
        Explanation = status switch
        {
            StatusCodes.Status401Unauthorized or StatusCodes.Status403Forbidden => "この操作をする権限がありません。",
            StatusCodes.Status404NotFound => "ページが見つかりません。",
            _ => "時間をおいて、もう一度お試しください。",
        };
        return Request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal) ? Page()
            : new JsonResult(new { type = $"urn:accessbroker:problem:web.status-{status}", code = $"web.status-{status}", status, detail = Explanation }) { ContentType = "application/problem+json", StatusCode = status };
    }
}
