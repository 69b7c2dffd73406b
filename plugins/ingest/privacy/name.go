package privacy

import "weir/internal/platform/pii"

// named is what the name of a field says of its value.
type named struct {
	kind kind // when personal
	is   bool // personal
	hint pii.Hint
}

// personal are names of fields whose values are personal data, without case and
// what parts their words. A name that ends with one, as whole words, is one too:
// customerEmail, billing_phone_number.
var personal = map[string]kind{
	"email": kindEmail, "mail": kindEmail, "emailaddress": kindEmail, "mailaddress": kindEmail,
	"phone": kindPhone, "phonenumber": kindPhone, "phoneno": kindPhone, "telephone": kindPhone,
	"telephonenumber": kindPhone,
	"mobilenumber":    kindPhone, "mobilephone": kindPhone, "cellphone": kindPhone, "msisdn": kindPhone, "fax": kindPhone,
	"faxnumber": kindPhone, "contactnumber": kindPhone, "whatsapp": kindPhone,
	"cardnumber": kindCard, "creditcard": kindCard, "creditcardnumber": kindCard, "debitcard": kindCard,
	"ccnumber": kindCard,
	"cardno":   kindCard, "cvv": kindSecret, "cvc": kindSecret, "cardholder": kindName, "cardholdername": kindName,
	"iban": kindIBAN, "bankaccount": kindIBAN, "accountnumber": kindIBAN,
	"ip": kindIP, "ipaddress": kindIP, "ipaddr": kindIP, "clientip": kindIP, "remoteaddr": kindIP, "remoteip": kindIP,
	"xforwardedfor": kindIP,
	"ssn":           kindSSN, "socialsecurity": kindSSN, "socialsecuritynumber": kindSSN,
	"firstname": kindName, "lastname": kindName, "fullname": kindName, "surname": kindName, "givenname": kindName,
	"familyname": kindName, "middlename": kindName, "maidenname": kindName, "birthname": kindName, "vorname": kindName,
	"nachname":      kindName,
	"streetaddress": kindAddress, "street": kindAddress, "homeaddress": kindAddress, "billingaddress": kindAddress,
	"shippingaddress": kindAddress, "postaladdress": kindAddress, "addressline": kindAddress, "postalcode": kindAddress,
	"postcode": kindAddress, "zipcode": kindAddress,
	"dob": kindBirth, "birthdate": kindBirth, "birthday": kindBirth, "dateofbirth": kindBirth,
	"passport": kindDocument, "passportnumber": kindDocument, "driverlicense": kindDocument,
	"driverslicense": kindDocument,
	"drivinglicence": kindDocument, "nationalid": kindDocument, "taxid": kindDocument, "idcardnumber": kindDocument,
	"password": kindSecret, "passwd": kindSecret, "pwd": kindSecret, "passphrase": kindSecret, "secret": kindSecret,
	"accesstoken": kindSecret, "refreshtoken": kindSecret, "idtoken": kindSecret, "authtoken": kindSecret,
	"sessiontoken": kindSecret, "bearertoken": kindSecret, "authorization": kindSecret, "apikey": kindSecret,
	"cookie": kindSecret, "setcookie": kindSecret, "privatekey": kindSecret,
}

// counted are the last words of names of ids, and versions those of versions.
var (
	counted = map[string]bool{"id": true, "ids": true, "uuid": true, "order": true, "orderno": true, "ordernumber": true,
		"sku":    true,
		"serial": true, "serialnumber": true, "invoice": true, "invoicenumber": true, "ref": true, "reference": true,
		"trace": true, "traceparent": true,
		"span": true, "session": true, "request": true, "transaction": true, "ticket": true, "tracking": true,
		"trackingnumber": true, "hash": true, "checksum": true, "offset": true, "sequence": true, "seq": true, "count": true,
		"total": true, "bytes": true, "timestamp": true, "ts": true, "time": true, "nonce": true, "imei": true,
		"barcode": true,
		"ean":     true, "number": true, "no": true, "code": true}
	versions = map[string]bool{"version": true, "firmware": true, "release": true, "build": true, "ver": true,
		"revision": true}
)

// longestName is how long a name may be that says something.
const longestName = 64

// nameSays reads the name of a field. It is split into words where case changes
// and at whatever is no letter or digit.
func nameSays(name []byte) (says named) {
	if len(name) == 0 || len(name) > longestName {
		return says
	}
	var joined [longestName]byte
	var starts [longestName]int
	n, words, skip, fresh := 0, 0, 0, true
	for i, c := range name {
		if end := markAt(name, i); end > 0 { // what stands there says nothing
			skip, fresh = end, true
		}
		if i < skip {
			continue
		}
		lower := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80
		upper := c >= 'A' && c <= 'Z'
		if !lower && !upper {
			fresh = true
			continue
		}
		if upper && i > 0 { // cardNumber, and the N of PANNumber
			before := name[i-1]
			after := i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z'
			fresh = fresh || before >= 'a' && before <= 'z' || before >= '0' && before <= '9' ||
				before >= 'A' && before <= 'Z' && after
		}
		if fresh {
			starts[words] = n
			words, fresh = words+1, false
		}
		if upper {
			c |= 0x20
		}
		joined[n] = c
		n++
	}
	for w := range words { // the longest end first: ip_address before address
		k, ok := personal[string(joined[starts[w]:n])]
		if !ok && joined[n-1] == 's' { // several of them
			k, ok = personal[string(joined[starts[w]:n-1])]
		}
		if ok {
			says = named{kind: k, is: true, hint: pii.HintPersonal}
			if k > kindSSN {
				says.hint = pii.HintNone
			}
			return says
		}
	}
	for w := range words {
		end := string(joined[starts[w]:n])
		switch {
		case versions[end]:
			says.hint = pii.HintVersion
		case counted[end]:
			says.hint = pii.HintID
		}
	}
	return says
}

// markAt returns the end of a mark at i, or 0.
func markAt(name []byte, i int) int {
	if name[i] != '[' {
		return 0
	}
	for _, mark := range marks {
		if len(name)-i >= len(mark) && string(name[i:i+len(mark)]) == mark {
			return i + len(mark)
		}
	}
	return 0
}
