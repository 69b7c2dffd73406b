package channel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"weir/internal/platform/conf"
	"weir/internal/platform/flow"
	"weir/internal/platform/secret"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/wneessen/go-mail"
)

const (
	emailFieldServer  = "server"
	emailFieldFrom    = "from"
	emailFieldTo      = "to"
	emailFieldSubject = "subject"
	emailFieldID      = "message_id"
	emailFieldTimeout = "timeout"
)

func emailSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Version("1.0.0").
		Categories("Weir").
		Summary("Sends each message as an e-mail, by SMTP.").
		Description(`
The body is the message's content, as plain text. An answer of the server that is final (5xx) tells `+"`alert_notices`"+` not to try again.`).
		Field(service.NewStringField(emailFieldServer).
			Description("The server as a URL, or where it is kept (`file:///run/secrets/smtp`, "+
				"`vault://secret/data/weir/smtp#url`): `smtp://` requires STARTTLS, `smtps://` is TLS from the start, "+
				"`smtp+insecure://` is without TLS. User and password stand in the URL.").
			Secret().Example("smtp://user:password@mail.example.com:587")).
		Field(service.NewStringField(emailFieldFrom).
			Description("The sender's address.").
			Example("weir <weir@example.com>")).
		Field(service.NewStringField(emailFieldTo).
			Description("The receivers' addresses, separated by commas.").
			Example("ops@example.com, night@example.com")).
		Field(service.NewInterpolatedStringField(emailFieldSubject).
			Description("The subject.").
			Default("Alert")).
		Field(service.NewInterpolatedStringField(emailFieldID).
			Description("What the Message-ID is made of, so that an e-mail that is sent again can be recognised; without it, "+
				"each has its own.").
			Default("")).
		Field(service.NewDurationField(emailFieldTimeout).
			Description("How long sending may take.").
			Default("20s")).
		Example("Mail to the people on duty", "The subject says what and how many.", `
output:
  alert_email:
    server: ${WEIR_NOTIFY_SMTP_URL:}
    from: weir@example.com
    to: ops@example.com
    subject: '${! @subject }'
`)
}

// email implements the output alert_email.
type email struct {
	server  string
	from    string
	to      string
	subject *service.InterpolatedString
	id      *service.InterpolatedString
	timeout time.Duration
}

func newEmail(parsed *service.ParsedConfig) (*email, error) {
	e := &email{}
	return e, conf.Checked(parsed, conf.Read(parsed, emailFieldServer, conf.Secret(&e.server),
		emailFieldFrom, &e.from, emailFieldTo, &e.to, emailFieldTimeout, conf.Positive(&e.timeout),
		emailFieldSubject, &e.subject, emailFieldID, &e.id))
}

// Connect does nothing: each e-mail uses its own connection.
func (e *email) Connect(context.Context) error { return nil }

// Write returns nil when the server has accepted the e-mail.
func (e *email) Write(ctx context.Context, msg *service.Message) error {
	m, err := e.message(msg)
	if err != nil {
		return err
	}
	client, err := e.client(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := client.DialAndSendWithContext(ctx, m); err != nil {
		f := &flow.Failure{Text: "sending an e-mail: " + err.Error()}
		var s *mail.SendError
		if errors.As(err, &s) && s.ErrorCode() >= 500 && !s.IsTemp() {
			f.Permanent = true
		}
		return f
	}
	return nil
}

func (e *email) message(msg *service.Message) (*mail.Msg, error) {
	body, err := msg.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("sending an e-mail: %w", err)
	}
	subject, err := e.subject.TryString(msg)
	if err != nil {
		return nil, fmt.Errorf("writing the subject of an e-mail: %w", err)
	}
	id, err := e.id.TryString(msg)
	if err != nil {
		return nil, fmt.Errorf("writing the id of an e-mail: %w", err)
	}
	m := mail.NewMsg()
	if err := m.From(e.from); err != nil {
		return nil, fmt.Errorf("reading the sender of e-mails: %w", err)
	}
	var to []string
	for _, address := range strings.Split(e.to, ",") {
		to = append(to, strings.TrimSpace(address))
	}
	if err := m.To(to...); err != nil {
		return nil, fmt.Errorf("reading the receivers of e-mails: %w", err)
	}
	m.Subject(strings.Join(strings.Fields(subject), " "))
	if id != "" {
		m.SetMessageIDWithValue(id + "@weir")
	}
	m.SetDate()
	m.SetBodyString(mail.TypeTextPlain, string(body))
	return m, nil
}

func (e *email) client(ctx context.Context) (*mail.Client, error) {
	text, err := secret.Value(ctx, e.server)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, &flow.Failure{Text: "sending an e-mail: the server is not set, or is no URL such as " +
			"smtp://user:password@host:587"}
	}
	options := []mail.Option{mail.WithTimeout(e.timeout)}
	switch u.Scheme {
	case "smtp":
		options = append(options, mail.WithTLSPortPolicy(mail.TLSMandatory))
	case "smtps":
		options = append(options, mail.WithSSLPort(false))
	case "smtp+insecure":
		options = append(options, mail.WithTLSPortPolicy(mail.NoTLS))
	default:
		return nil, &flow.Failure{Text: "sending an e-mail: the server's scheme is not one of smtp, smtps, smtp+insecure"}
	}
	if port := u.Port(); port != "" {
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, &flow.Failure{Text: "sending an e-mail: the server's port is no number"}
		}
		options = append(options, mail.WithPort(n))
	}
	if u.User != nil {
		password, _ := u.User.Password()
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()),
			mail.WithPassword(password))
	}
	client, err := mail.NewClient(u.Hostname(), options...)
	if err != nil {
		return nil, &flow.Failure{Text: "sending an e-mail: " + err.Error()}
	}
	return client, nil
}

// Close does nothing.
func (e *email) Close(context.Context) error { return nil }

var _ service.Output = (*email)(nil)
