//! Session descriptions with the codecs and preconditions of mobile networks (RFC 3312, 4867).

use super::super::random::Random;
use super::Phone;

impl Phone {
    pub fn media(&self, random: &mut Random) -> String {
        let family = if self.ip.starts_with('[') {
            "IP6"
        } else {
            "IP4"
        };
        let ip = self.ip.trim_matches(['[', ']']);
        let codecs = random.pick(&[
            "107 106 105 104 101 102\r\nb=AS:41\r\nb=RS:512\r\nb=RR:1537\r\na=rtpmap:107 EVS/16000/1\r\na=fmtp:107 br=5.9-24.4;bw=nb-swb;max-red=0\r\na=rtpmap:106 AMR-WB/16000/1\r\na=fmtp:106 octet-align=1;mode-change-capability=2;max-red=0\r\na=rtpmap:105 AMR-WB/16000/1\r\na=fmtp:105 mode-change-capability=2;max-red=0\r\na=rtpmap:104 AMR/8000/1\r\na=fmtp:104 octet-align=1;mode-change-capability=2;max-red=0\r\na=rtpmap:101 telephone-event/16000\r\na=fmtp:101 0-15\r\na=rtpmap:102 telephone-event/8000\r\na=fmtp:102 0-15\r\n",
            "96 97 98 99\r\nb=AS:38\r\nb=RS:0\r\nb=RR:2000\r\na=rtpmap:96 AMR-WB/16000\r\na=fmtp:96 mode-change-capability=2;max-red=220\r\na=rtpmap:97 AMR/8000\r\na=fmtp:97 mode-change-capability=2;max-red=220\r\na=rtpmap:98 telephone-event/16000\r\na=fmtp:98 0-15\r\na=rtpmap:99 telephone-event/8000\r\na=fmtp:99 0-15\r\n",
            "104 110 102 108 105 100\r\nb=AS:49\r\nb=RS:800\r\nb=RR:2400\r\na=rtpmap:104 AMR-WB/16000/1\r\na=fmtp:104 mode-change-capability=2;max-red=0\r\na=rtpmap:110 AMR-WB/16000/1\r\na=fmtp:110 octet-align=1;mode-change-capability=2;max-red=0\r\na=rtpmap:102 AMR/8000/1\r\na=fmtp:102 mode-change-capability=2;max-red=0\r\na=rtpmap:105 telephone-event/16000/1\r\na=fmtp:105 0-15\r\na=rtpmap:100 telephone-event/8000/1\r\na=fmtp:100 0-15\r\n",
        ]);
        format!(
            "v=0\r\no={} {} {} IN {family} {ip}\r\ns={}\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {codecs}a=curr:qos local {}\r\na=curr:qos remote none\r\na=des:qos mandatory local sendrecv\r\na=des:qos optional remote sendrecv\r\na=sendrecv\r\na=ptime:20\r\na=maxptime:240\r\n",
            random.pick(&["-", "rue", "SAMSUNG-IMS-UE", "anritsu"]),
            random.digits(10),
            random.digits(10),
            random.pick(&["-", "SS VOIP", "QC VOIP", "IMS"]),
            random.between(600, 32_500) * 2,
            random.pick(&["none", "sendrecv"])
        )
    }
}
