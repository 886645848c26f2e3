import openai


def ask(question: str, url: str = "http://127.0.0.1:8000/v1"):
    with openai.OpenAI(base_url=url, api_key="none") as client:
        chunks = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": question}], stream=True
        )
        for chunk in chunks:
            yield chunk.choices[0].delta.content or ""
