import openai


def ask(question: str, url: str = "http://127.0.0.1:8000/v1"):
    messages = [{"role": "user", "content": question}]
    with openai.OpenAI(base_url=url, api_key="none") as client:
        chunks = client.chat.completions.create(model="tiny", messages=messages, stream=True)
        for chunk in chunks:
            yield chunk.choices[0].delta.content or ""
