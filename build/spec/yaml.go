package spec

import (
	"bytes"
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// yamlReader turns the syntax tree of goccy/go-yaml into nodes, once, and resolves aliases.
type yamlReader struct {
	file    string
	text    []byte
	anchors map[string]node
	aliases int
}

func parseYAML(file string, text []byte) (node, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	r := &yamlReader{file: file, text: text}
	tokens := lexer.Tokenize(string(text))
	if tk := tooDeep(tokens); tk != nil {
		return node{}, r.fail(tk, "nested too deep", "")
	}
	tokens, unclear := joinColons(tokens)
	if unclear != nil {
		return node{}, r.fail(unclear, "text with several colons is not clear", "quote it, or put a space after the `:` of a key")
	}
	tree, err := parser.Parse(tokens, 0)
	if err != nil {
		return node{}, r.syntax(err)
	}
	var bodies []ast.Node
	for _, doc := range tree.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.DirectiveType && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return node{kind: isNull, at: Position{1, 1}}, nil
	case 1:
		return r.node(bodies[0])
	}
	second, err := r.node(bodies[1])
	if err != nil {
		return node{}, err
	}
	return node{}, newError(file, text, second.at, "a second document", "one file holds one spec")
}

// tooDeep returns the first token that makes the parser, which recurses, go deeper than a spec needs. In block style
// depth costs columns, so a far column is a deep one; so is a run of tokens that only prefix a value.
func tooDeep(tokens token.Tokens) *token.Token {
	depth, prefixes := 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			if tk.Position.Column > 8*maxDepth {
				return tk
			}
		case token.AnchorType, token.TagType:
			prefixes++
		}
		if depth > maxDepth || prefixes > maxAliases {
			return tk
		}
	}
	return nil
}

func (r *yamlReader) at(tk *token.Token) Position {
	if tk == nil || tk.Position == nil {
		return Position{1, 1}
	}
	return Position{tk.Position.Line, tk.Position.Column}
}

func (r *yamlReader) fail(tk *token.Token, message, help string) error {
	return newError(r.file, r.text, r.at(tk), message, help)
}

func (r *yamlReader) syntax(err error) error {
	var located yaml.Error
	if !errors.As(err, &located) {
		return r.fail(nil, "malformed YAML: "+err.Error(), "")
	}
	return r.fail(located.GetToken(), "malformed YAML: "+located.GetMessage(), "")
}

func (r *yamlReader) node(n ast.Node) (node, error) {
	if n == nil {
		return node{kind: isNull, at: Position{1, 1}}, nil
	}
	tk := n.GetToken()
	scalar := func(k kind, text string) (node, error) { return node{kind: k, text: text, at: r.at(tk)}, nil }
	switch n := n.(type) {
	case *ast.StringNode:
		return scalar(isString, n.Value)
	case *ast.LiteralNode:
		return scalar(isString, n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(isNumber, tk.Value)
	case *ast.BoolNode:
		return scalar(isBool, tk.Value)
	case *ast.NullNode:
		return scalar(isNull, "")
	case *ast.MappingNode:
		return r.mapping(n)
	case *ast.MappingValueNode:
		return r.pairs(r.at(n.Key.GetToken()), []*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		return r.sequence(n)
	case *ast.AnchorNode:
		value, err := r.node(n.Value)
		if r.anchors == nil {
			r.anchors = map[string]node{}
		}
		r.anchors[n.Name.GetToken().Value] = value
		return value, err
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.TagNode:
		return node{}, r.fail(tk, "tag "+tk.Value+" is not supported", "quote a value that is to be a string")
	}
	return node{}, r.fail(tk, strings.ToLower(n.Type().String())+" is not supported here", "")
}

// alias repeats an anchored value. Its name is defined only after the whole value, so no value holds itself; the number
// is bounded, so is therefore the size of the tree.
func (r *yamlReader) alias(n *ast.AliasNode) (node, error) {
	name := n.Value.GetToken()
	value, ok := r.anchors[name.Value]
	if r.aliases++; r.aliases > maxAliases {
		return node{}, r.fail(name, "too many aliases", "")
	}
	if !ok {
		return node{}, r.fail(name, "alias *"+name.Value+" has no anchor before it", "")
	}
	return value, nil
}

func (r *yamlReader) mapping(n *ast.MappingNode) (node, error) {
	at := r.at(n.Start)
	if !n.IsFlowStyle && len(n.Values) > 0 {
		at = r.at(n.Values[0].Key.GetToken())
	}
	return r.pairs(at, n.Values)
}

func (r *yamlReader) pairs(at Position, pairs []*ast.MappingValueNode) (node, error) {
	m := node{kind: isMapping, at: at, keys: make([]node, 0, len(pairs)), values: make([]node, 0, len(pairs))}
	for _, pair := range pairs {
		if pair.Key.IsMergeKey() {
			return node{}, r.fail(pair.Key.GetToken(), "merge key << is not supported", "write the keys out")
		}
		key, err := r.node(pair.Key)
		if err != nil {
			return node{}, err
		}
		value, err := r.node(pair.Value)
		if err != nil {
			return node{}, err
		}
		m.keys, m.values = append(m.keys, key), append(m.values, value)
	}
	return m, nil
}

func (r *yamlReader) sequence(n *ast.SequenceNode) (node, error) {
	s := node{kind: isSequence, at: r.at(n.Start), values: make([]node, 0, len(n.Values))}
	for _, item := range n.Values {
		value, err := r.node(item)
		if err != nil {
			return node{}, err
		}
		s.values = append(s.values, value)
	}
	return s, nil
}
