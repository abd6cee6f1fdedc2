package spec

import (
	"strings"

	"github.com/goccy/go-yaml/token"
)

// joinColons makes one token of a plain scalar that holds a ':'. In YAML 1.2 a ':' ends a plain scalar only before white
// space or a bracket or comma; the lexer takes each first one in a flow mapping as the end: {urls: [http://x]}. It
// returns the token of a scalar that neither reading fits.
func joinColons(tokens token.Tokens) (joined token.Tokens, unclear *token.Token) {
	joined = make(token.Tokens, 0, len(tokens))
	for i := 0; i < len(tokens); i++ {
		colon := tokens[i]
		if colon.Type != token.MappingValueType || i+1 == len(tokens) || !follows(tokens[i+1], colon) {
			joined.Add(colon)
			continue
		}
		next, last := tokens[i+1], len(joined)-1
		switch {
		case last >= 0 && opensValue(joined[last].Type):
			joined.Add(token.String(":"+next.Value, ":"+next.Origin, colon.Position))
		case last >= 0 && plain(joined, last) && !strings.Contains(end(joined[last].Origin), "\n"):
			first := joined[last]
			joined = joined[:last]
			joined.Add(token.String(first.Value+end(first.Origin)+":"+next.Value, first.Origin+":"+next.Origin, first.Position))
		default:
			joined.Add(colon)
			continue
		}
		if strings.HasSuffix(next.Value, ":") || strings.Contains(next.Value, ": ") || strings.Contains(next.Value, ":\t") {
			return nil, colon
		}
		i++
	}
	return joined, nil
}

// follows reports whether tk is a plain scalar with nothing between it and the colon.
func follows(tk, colon *token.Token) bool {
	return tk.CharacterType == token.CharacterTypeMiscellaneous && strings.TrimLeft(tk.Origin, " \t\n") == tk.Origin &&
		tk.Position.Line == colon.Position.Line && tk.Position.Column == colon.Position.Column+1
}

// plain reports whether a token is a plain scalar and not the name of an anchor or alias.
func plain(tokens token.Tokens, i int) bool {
	name := i > 0 && (tokens[i-1].Type == token.AnchorType || tokens[i-1].Type == token.AliasType)
	return tokens[i].CharacterType == token.CharacterTypeMiscellaneous && !name
}

func opensValue(t token.Type) bool {
	return t == token.SequenceStartType || t == token.MappingStartType || t == token.CollectEntryType || t == token.MappingValueType
}

// end is the white space at the end of text.
func end(text string) string { return text[len(strings.TrimRight(text, " \t\n")):] }
