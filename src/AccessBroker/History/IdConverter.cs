using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization;
using AccessBroker.Primitives;

namespace AccessBroker.History;

/// <summary>Ids as JSON text.</summary>
public sealed class IdConverter : JsonConverterFactory
{
    public override bool CanConvert(Type typeToConvert) => typeof(IId).IsAssignableFrom(typeToConvert) && typeToConvert.IsValueType;

    public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
        (JsonConverter)Activator.CreateInstance(typeof(Text<>).MakeGenericType(typeToConvert), BindingFlags.Instance | BindingFlags.Public, null, null, null)!;

    private sealed class Text<T> : JsonConverter<T> where T : struct, IId, IParsable<T>
    {
        public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            T.TryParse(reader.GetString(), null, out var id) ? id : throw new JsonException("not an identifier");

        public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(value.Value);
    }
}
